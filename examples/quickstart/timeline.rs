//! What the run prints.

use std::fmt::Display;
use std::time::Instant;

/// Says what happens and when, and keeps count of the promises.
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
        println!("\n{}. {title}", self.chapters);
    }

    pub(super) fn tell(&self, what: impl Display) {
        let what = what.to_string().replace('\n', "\n           ");
        println!("{:>6} ms  {what}", self.start.elapsed().as_millis());
    }

    pub(super) fn promise(&mut self, is_kept: bool, promise: impl Display) {
        *(if is_kept { &mut self.kept } else { &mut self.broken }) += 1;
        println!("{}{promise}", if is_kept { " ✓ kept    " } else { " ✗ BROKEN  " });
    }

    /// The last line, and whether all went well.
    pub(super) fn end(&self) -> bool {
        let Self { kept, broken, .. } = self;
        let elapsed = self.start.elapsed().as_secs_f64();
        println!("\n{kept} of {} promises kept, {broken} broken, in {elapsed:.1} s", kept + broken);
        *broken == 0
    }
}
