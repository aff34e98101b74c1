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
        let counted = |times| counted(programs, program, case, times, count.misses, folder);
        Cost::of_one(&(few, counted(few)?), &(many, counted(many)?), count.misses)
    };
    let ours = per_one(&count.case)?;
    let anchor = count.against.as_deref().map(|case| Ok::<_, String>((case, per_one(case)?))).transpose()?;
    Ok(judged(count, &ours, anchor.as_ref(), bare))
}

/// The cost of one operation.
#[derive(Debug, PartialEq)]
struct Cost {
    instructions: f64,
    /// Lines that the first-level caches miss, of code and of data.
    misses: Option<(f64, f64)>,
}

fn judged(count: &Count, ours: &Cost, anchor: Option<&(&str, Cost)>, bare: Line) -> Line {
    let figure = ours.instructions;
    let ratio = anchor.map(|(_, theirs)| figure / theirs.instructions);
    let within = |limit: Option<f64>, figure: Option<f64>| Some(figure? <= limit?);
    let verdicts = [within(count.at_most, Some(figure)), within(count.ratio_at_most, ratio)];
    let met = verdicts.into_iter().flatten().reduce(|one, other| one && other);
    let misses = |case: &str, cost: &Cost| {
        let (code, data) = cost.misses?;
        Some(format!("{case} misses {code:.0} lines of code and {data:.0} of data in caches of 32 KiB each"))
    };
    let theirs = anchor.and_then(|(case, theirs)| misses(case, theirs));
    let notes = [count.note.clone(), misses(&count.case, ours), theirs];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    let note = Some(notes.join("; ")).filter(|note| !note.is_empty());
    let anchor =
        anchor.map_or_else(String::new, |(case, theirs)| format!("{case}: {:.0}", theirs.instructions));
    Line { figure: Some(figure), anchor, ratio, met, note, ..bare }
}

impl Cost {
    /// Without what is done only once.
    fn of_one(
        few: &(u64, InstructionCounts),
        many: &(u64, InstructionCounts),
        misses: bool,
    ) -> Result<Self, String> {
        let times = many.0.saturating_sub(few.0);
        let more = |event| Ok::<_, String>(many.1.of(event)?.saturating_sub(few.1.of(event)?));
        let instructions = more("Ir")?;
        if times == 0 || instructions == 0 {
            return Err(format!("callgrind cannot compare runs of the same length: {few:?}, {many:?}"));
        }
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let per_one = |counted: u64| counted as f64 / times as f64;
        let of_caches = || Ok::<_, String>((per_one(more("I1mr")?), per_one(more("D1mr")? + more("D1mw")?)));
        Ok(Self { instructions: per_one(instructions), misses: misses.then(of_caches).transpose()? })
    }
}

fn counted(
    programs: &Programs,
    program: Program,
    case: &str,
    times: u64,
    misses: bool,
    folder: &Path,
) -> Result<InstructionCounts, String> {
    let cannot = |error: std::io::Error| format!("cannot use {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(cannot)?;
    let file = folder.join("callgrind.out");
    let mut command = programs.within_root("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
    if misses {
        // The same caches on each machine.
        command.args(["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,8,64"]);
    }
    command.arg(programs.file(program)).args(["count", case, &times.to_string()]);
    // The time that glibc needs to find memory depends on the layout of the heap, which would look like a difference
    // between two cases. So glibc caches all small pieces.
    command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=60000");
    capture_within(&mut command, Duration::from_secs(300))?;
    let text = fs::read_to_string(&file).map_err(cannot)?;
    fs::remove_file(&file).map_err(cannot)?;
    InstructionCounts::read(&text).ok_or_else(|| format!("callgrind printed no totals for `{case}`"))
}

/// The totals of the whole run in callgrind's file, by event.
#[derive(Debug)]
struct InstructionCounts(Vec<(String, u64)>);

impl InstructionCounts {
    fn read(text: &str) -> Option<Self> {
        let words = |name| Some(text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace());
        let totals = words("totals:")?.map(|total| total.parse().ok());
        let events = words("events:")?.map(str::to_owned);
        events.zip(totals).map(|(event, total)| Some((event, total?))).collect::<Option<_>>().map(Self)
    }

    fn of(&self, event: &str) -> Result<u64, String> {
        let found = self.0.iter().find(|(name, _)| name == event);
        found.map(|(_, count)| *count).ok_or_else(|| format!("callgrind counted no `{event}`"))
    }
}

fn is_installed() -> bool {
    let mut command = Command::new("valgrind");
    let asked = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> InstructionCounts {
        InstructionCounts::read(text).unwrap()
    }

    #[test]
    fn what_is_done_once_does_not_count() {
        let run = |times: u64| counted(&format!("events: Ir\ntotals: {}\n", 5_000_000 + times * 180));
        let cost = Cost::of_one(&(10, run(10)), &(110, run(110)), false).unwrap();
        assert!((cost.instructions - 180.0).abs() < 1e-9);
        assert_eq!(cost.misses, None);
        assert!(Cost::of_one(&(10, run(1)), &(10, run(2)), false).is_err());
        assert!(Cost::of_one(&(10, run(10)), &(110, run(110)), true).is_err(), "no misses were counted");
        assert!(Cost::of_one(&(10, run(10)), &(20, counted("events: Dr\ntotals: 3\n")), false).is_err());
    }

    #[test]
    fn misses_are_told_where_they_are_asked_for() {
        let run = |ir, code, read, written| {
            counted(&format!("events: Ir Dr Dw I1mr D1mr D1mw\ntotals: {ir} 9 9 {code} {read} {written}\n"))
        };
        let (few, many) = ((10, run(1000, 70, 50, 5)), (20, run(2000, 100, 100, 15)));
        let cost = Cost::of_one(&few, &many, true).unwrap();
        assert_eq!(cost, Cost { instructions: 100.0, misses: Some((3.0, 6.0)) });
        let count = Count { case: "ours".into(), note: Some("beside".into()), ..Count::default() };
        let note = judged(&count, &cost, None, Line::default()).note.unwrap();
        assert_eq!(note, "beside; ours misses 3 lines of code and 6 of data in caches of 32 KiB each");
        assert_eq!(Cost::of_one(&few, &many, false).unwrap().misses, None);
    }

    #[test]
    fn totals_are_found_in_the_file() {
        let text = "version: 1\nevents: Ir Dr\nsummary: 7\n\nfn=(1) main\n1 5\ntotals: 123456 7\n";
        assert_eq!((counted(text).of("Ir"), counted(text).of("Dr")), (Ok(123_456), Ok(7)));
        assert!(counted(text).of("I1mr").is_err());
        assert!(InstructionCounts::read("events: Ir\n").is_none());
    }

    #[test]
    fn every_goal_of_a_count_has_to_be_met() {
        let count = |at_most, ratio_at_most| Count { at_most, ratio_at_most, ..Count::default() };
        let cost = |instructions| Cost { instructions, misses: None };
        let met =
            |count: &Count| judged(count, &cost(170.0), Some(&("peer", cost(200.0))), Line::default()).met;
        assert_eq!(met(&count(Some(180.0), None)), Some(true));
        assert_eq!(met(&count(Some(180.0), Some(0.8))), Some(false));
        assert_eq!(met(&count(Some(160.0), Some(0.9))), Some(false));
        assert_eq!(met(&count(None, None)), None);
    }
}
