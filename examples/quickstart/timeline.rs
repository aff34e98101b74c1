//! The output of the run.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

/// Prints the events with their times, and counts the promises.
pub(super) struct Timeline {
    start: Instant,
    chapters: usize,
    kept: usize,
    broken: usize,
}

impl Timeline {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), chapters: 0, kept: 0, broken: 0 }
    }

    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        say(format_args!("\n{}. {title}", self.chapters));
    }

    pub(super) fn tell(&self, what: impl Display) {
        let what = what.to_string().replace('\n', "\n           ");
        say(format_args!("{:>6} ms  {what}", self.start.elapsed().as_millis()));
    }

    pub(super) fn promise(&mut self, is_kept: bool, promise: impl Display) {
        *(if is_kept { &mut self.kept } else { &mut self.broken }) += 1;
        say(format_args!("{}{promise}", if is_kept { " ✓ kept    " } else { " ✗ BROKEN  " }));
    }

    /// Prints the last line, and returns whether all promises were kept.
    pub(super) fn end(&self) -> bool {
        let Self { kept, broken, .. } = self;
        let elapsed = self.start.elapsed().as_secs_f64();
        say(format_args!("\n{kept} of {} promises kept, {broken} broken, in {elapsed:.1} s", kept + broken));
        *broken == 0
    }
}

/// Prints a line. Ignores a closed pipe, as in `… | head`, for which `println!` would panic.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
