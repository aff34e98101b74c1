//! The output of xtask itself. The programs that it starts print theirs directly.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static TO_STDERR: AtomicBool = AtomicBool::new(false);

/// Sends all further lines but the answer to standard error, because a program reads the standard output.
pub(crate) fn leave_stdout_alone() {
    TO_STDERR.store(true, Ordering::Relaxed);
}

/// Prints one line. If the reader has left (`| head`), this does nothing, where `println!` would panic.
pub(crate) fn say(line: impl Display) {
    let _ = if TO_STDERR.load(Ordering::Relaxed) {
        writeln!(io::stderr(), "{line}")
    } else {
        writeln!(io::stdout(), "{line}")
    };
}

/// Prints one line for a program that reads the standard output.
pub(crate) fn answer(line: impl Display) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Prints the title of one step of several.
pub(crate) fn heading(step: usize, steps: usize, title: &str) {
    say(format_args!("\n== {step}/{steps} {title}"));
}

/// A duration in words: `0.4 s`, `12 s`, `3 min 12 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 60 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else if seconds >= 10 {
        format!("{seconds} s")
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(449)), "0.4 s");
        assert_eq!(duration(Duration::from_millis(12_900)), "12 s");
        assert_eq!(duration(Duration::from_secs(60)), "1 min 0 s");
        assert_eq!(duration(Duration::from_secs(192)), "3 min 12 s");
    }
}
