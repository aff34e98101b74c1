//! How soon a manager stops handing out a token that is no longer good.

use std::sync::Arc;
use std::time::Duration;
use std::{fs, io, thread};

use forge_tests::fleet::{Report, now};
use tokio::sync::oneshot;

use crate::Result;
use crate::manager::ManagedTokens;

/// The time between two looks. Without a pause the watcher would take the processors away from the watched
/// processes.
const PAUSE: Duration = Duration::from_micros(200);

/// A thread that watches the token all the time.
pub(crate) struct Watch(oneshot::Receiver<Report>);

impl Watch {
    pub(crate) fn begin(managed: Arc<ManagedTokens>) -> Self {
        let (sender, receiver) = oneshot::channel();
        let watched = managed.at_hand();
        thread::spawn(move || {
            let waited_before = waited();
            let (mut last, mut longest_gap) = (now(), 0);
            loop {
                let at = now();
                longest_gap = longest_gap.max(at.saturating_sub(last));
                last = at;
                if watched.is_none() || managed.at_hand() != watched {
                    let at = now();
                    let stood_still = longest_gap.max(waited().saturating_sub(waited_before));
                    // The receiver may be gone.
                    let _ = sender.send(Report::Gone { at, stood_still });
                    return;
                }
                thread::sleep(PAUSE);
            }
        });
        Self(receiver)
    }

    pub(crate) async fn gone(self) -> Result<Report> {
        Ok(self.0.await?)
    }
}

/// The total time for which the threads of this process wanted a processor and had none, in nanoseconds, as
/// far as the system tells (Linux does).
fn waited() -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let of_one = |thread: io::Result<fs::DirEntry>| {
        let told = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        told.split(' ').nth(1)?.parse::<u64>().ok()
    };
    threads.filter_map(of_one).sum()
}
