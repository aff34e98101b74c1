//! Where, when and of what it was measured.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use cargo_metadata::Metadata;

use crate::command::capture;

/// The processor, how many of them, the system, and the compiler.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_model(&text));
    let cpu = cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let count = thread::available_parallelism().map_or(1, usize::from);
    let system = word(Command::new("uname").arg("-sr")).unwrap_or_else(|| std::env::consts::OS.to_owned());
    let compiler = word(Command::new("rustc").arg("--version")).unwrap_or_default();
    format!("{count} × {cpu}, {system}, {compiler}")
}

/// The commit that is checked out, and whether anything was changed since.
pub(crate) fn commit(workspace: &Metadata) -> String {
    let git = |args: &[&str]| word(Command::new("git").current_dir(&workspace.workspace_root).args(args));
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let is_changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    if is_changed { format!("{commit}, with changes") } else { commit }
}

/// The date and the time, in UTC.
pub(crate) fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(now.as_secs())
}

fn word(command: &mut Command) -> Option<String> {
    capture(command).ok().map(|text| text.trim().to_owned())
}

fn cpu_model(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The date of these seconds since 1970, in the format of RFC 3339.
fn date(seconds: u64) -> String {
    let (mut day, time) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(date(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(date(1_767_225_600), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn the_processor_is_named() {
        let text = "processor\t: 0\nmodel name\t: A Fast One @ 3 GHz\nmodel name\t: another\n";
        assert_eq!(cpu_model(text).as_deref(), Some("A Fast One @ 3 GHz"));
        assert_eq!(cpu_model("processor\t: 0\n"), None);
    }
}
