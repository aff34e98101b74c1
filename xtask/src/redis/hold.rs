//! Cleans up after whoever asked for a Redis, however that one ends.

use std::io::{self, Read};
use std::process;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::redis::Run;
use crate::redis::container;
use crate::report::say;

/// What one writes to standard input who ends in good order.
pub(crate) const END: u8 = b'.';

/// A request that was on its way to the engine when its sender died is through by then.
const SETTLE: Duration = Duration::from_secs(1);

/// Waits in the background for the end of standard input: a pipe ends with whoever holds the other end,
/// also by a signal that nobody can catch.
pub(crate) struct Holder {
    waiting: JoinHandle<()>,
}

impl Holder {
    /// Begins before anything is looked for, since that may take a while, too.
    pub(crate) fn start(run: &Run) -> Self {
        let run = run.clone();
        let waiting = thread::spawn(move || {
            let mut word = Vec::new();
            let orderly = io::stdin().read_to_end(&mut word).is_ok() && word.last() == Some(&END);
            if let Err(why) = clean_up(&run, orderly) {
                say(format_args!("redis: containers may be left: {why}"));
            }
            process::exit(0);
        });
        Self { waiting }
    }

    /// Waits for the end, and ends xtask with it.
    pub(crate) fn wait(self) {
        // It ends by ending the process.
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
        say(format_args!("redis: removed containers that were left: {removed}"));
    }
    Ok(())
}
