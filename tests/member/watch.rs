//! How soon a token that is no longer good is not handed out any more.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use forge_tests::fleet::{Report, now};
use tokio::sync::oneshot;

use crate::Result;
use crate::manager::Managed;

/// Between two looks. Looking without a pause would take the processors away from those who are looked at.
const PAUSE: Duration = Duration::from_micros(200);

/// A thread that looks all the time.
pub(crate) struct Watch(oneshot::Receiver<Report>);

impl Watch {
    pub(crate) fn begin(managed: Arc<Managed>) -> Self {
        let (sender, receiver) = oneshot::channel();
        let watched = managed.at_hand();
        thread::spawn(move || {
            let (mut last, mut longest_gap) = (now(), 0);
            loop {
                // What is at hand at the latest now is what counts.
                let at = now();
                longest_gap = longest_gap.max(at.saturating_sub(last));
                last = at;
                if watched.is_none() || managed.at_hand() != watched {
                    // Whoever began it may be gone.
                    let _ = sender.send(Report::Gone { at: now(), longest_gap });
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
