//! Counts instructions. Unlike times, they are the same on a busy machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::programs::Programs;
use super::report::{Count, Line};
use super::suites::Program;
use crate::command::capture_within;
use crate::report::say;

/// The line that a program asked for.
///
/// # Errors
///
/// When valgrind is there and the program does not run under it.
pub(crate) fn line(
    count: &Count,
    programs: &Programs,
    program: Program,
    folder: &Path,
) -> Result<Line, String> {
    let unit = "instructions".to_owned();
    let bare = Line { name: count.name.clone(), goal: count.goal.clone(), unit, ..Line::default() };
    if !is_installed() {
        return Ok(Line { note: Some("not counted: valgrind is not installed".into()), ..bare });
    }
    let per_one = |case: &str| {
        say(format_args!("   callgrind: {case}"));
        let (few, many) = count.times;
        let few_counted = instructions(programs, program, case, few, folder)?;
        let many_counted = instructions(programs, program, case, many, folder)?;
        difference((few, few_counted), (many, many_counted))
    };
    let ours = per_one(&count.case)?;
    let anchor = count.against.as_deref().map(|case| Ok::<_, String>((case, per_one(case)?))).transpose()?;
    Ok(judged(count, ours, anchor, bare))
}

fn judged(count: &Count, ours: f64, anchor: Option<(&str, f64)>, bare: Line) -> Line {
    let ratio = anchor.map(|(_, theirs)| ours / theirs);
    let within = |limit: Option<f64>, figure: Option<f64>| Some(figure? <= limit?);
    let verdicts = [within(count.at_most, Some(ours)), within(count.ratio_at_most, ratio)];
    let met = verdicts.into_iter().flatten().reduce(|one, other| one && other);
    let anchor = anchor.map_or_else(String::new, |(case, theirs)| format!("{case}: {theirs:.0}"));
    Line { figure: Some(ours), anchor, ratio, met, note: count.note.clone(), ..bare }
}

/// What one costs, without what is done only once.
fn difference(few: (u64, u64), many: (u64, u64)) -> Result<f64, String> {
    let (times, counted) = (many.0.saturating_sub(few.0), many.1.saturating_sub(few.1));
    if times == 0 || counted == 0 {
        return Err(format!("nothing to be counted: {few:?}, {many:?}"));
    }
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let per_one = counted as f64 / times as f64;
    Ok(per_one)
}

fn instructions(
    programs: &Programs,
    program: Program,
    case: &str,
    times: u64,
    folder: &Path,
) -> Result<u64, String> {
    let cannot = |error: std::io::Error| format!("cannot use {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(cannot)?;
    let file = folder.join("callgrind.out");
    let mut command = programs.within_root("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(programs.file(program)).args(["count", case, &times.to_string()]);
    // How long glibc looks for memory depends on where pieces happen to lie, which is no difference between
    // two cases: let it have all small ones at hand.
    command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=60000");
    capture_within(&mut command, Duration::from_secs(300))?;
    let text = fs::read_to_string(&file).map_err(cannot)?;
    fs::remove_file(&file).map_err(cannot)?;
    total(&text).ok_or_else(|| format!("callgrind counted nothing of `{case}`"))
}

/// What callgrind's file says of the whole run.
fn total(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    total.trim().parse().ok()
}

fn is_installed() -> bool {
    let mut command = Command::new("valgrind");
    let asked = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_once_does_not_count() {
        let once = 5_000_000;
        let per_one = difference((10, once + 10 * 180), (110, once + 110 * 180)).unwrap();
        assert!((per_one - 180.0).abs() < 1e-9);
        assert!(difference((10, 1), (10, 2)).is_err());
    }

    #[test]
    fn the_total_is_found_in_the_file() {
        let text = "version: 1\nevents: Ir\nsummary: 7\n\nfn=(1) main\n1 5\ntotals: 123456\n";
        assert_eq!(total(text), Some(123_456));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn every_goal_of_a_count_has_to_be_met() {
        let count = |at_most, ratio_at_most| Count { at_most, ratio_at_most, ..Count::default() };
        let met = |count: &Count| judged(count, 170.0, Some(("peer", 200.0)), Line::default()).met;
        assert_eq!(met(&count(Some(180.0), None)), Some(true));
        assert_eq!(met(&count(Some(180.0), Some(0.8))), Some(false));
        assert_eq!(met(&count(Some(160.0), Some(0.9))), Some(false));
        assert_eq!(met(&count(None, None)), None);
    }
}
