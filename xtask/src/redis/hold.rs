//! Cleans up after the program that asked for a Redis, however that program ends.

use std::io::{self, Read};
use std::process;
use std::sync::PoisonError;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::redis::Run;
use crate::redis::container;
use crate::report::say;

/// The byte that a program writes to our standard input when it ends in good order.
pub(crate) const END: u8 = b'.';

/// After this time the engine has served a request that was under way when its sender died.
const SETTLE: Duration = Duration::from_secs(1);

/// Waits in the background for the end of standard input. A pipe ends with the program at its other end, even when
/// a signal kills that program.
pub(crate) struct Holder {
    waiting: JoinHandle<()>,
}

impl Holder {
    /// Call this before the search, which may take minutes.
    pub(crate) fn start(run: &Run) -> Self {
        let run = run.clone();
        let waiting = thread::spawn(move || {
            let mut word = Vec::new();
            let orderly = io::stdin().read_to_end(&mut word).is_ok() && word.last() == Some(&END);
            // Race: `--start` starts its process under this lock, and the lock is held until xtask has ended.
            // So no process starts after this one was stopped.
            let mut server = run.server.lock().unwrap_or_else(PoisonError::into_inner);
            server.take();
            if let Err(why) = clean_up(&run, orderly) {
                say(format_args!("redis: cannot remove the containers of this run: {why}"));
            }
            process::exit(0);
        });
        Self { waiting }
    }

    /// Waits for the end, and ends xtask with it.
    pub(crate) fn wait(self) {
        // The thread ends the process.
        let _ = self.waiting.join();
    }
}

fn clean_up(run: &Run, orderly: bool) -> Result<(), String> {
    let mut removed = container::remove_all(run)?;
    if !orderly {
        thread::sleep(SETTLE);
        removed += container::remove_all(run)?;
    }
    if removed > 0 {
        say(format_args!("redis: removed the containers of this run: {removed}"));
    }
    Ok(())
}
