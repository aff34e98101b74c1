//! One check, and the table of all of them.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::command;
use crate::report::{duration, heading, say};

/// The outcome of a check.
pub(crate) enum Outcome {
    /// The check found no offence.
    Passed,
    /// The offences.
    Failed(String),
    /// The reason why this machine cannot run the check.
    NotChecked(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Passed)
    }
}

/// One check of `cargo xtask ci`.
pub(crate) struct Check<'a> {
    name: String,
    run: Box<dyn FnOnce() -> Outcome + 'a>,
}

impl<'a> Check<'a> {
    /// A check that is a function.
    pub(crate) fn new<T: Into<Outcome>>(name: impl Into<String>, run: impl FnOnce() -> T + 'a) -> Self {
        Self { name: name.into(), run: Box::new(|| run().into()) }
    }

    /// A check that passes if a program succeeds.
    pub(crate) fn command(name: impl Into<String>, mut command: Command) -> Self {
        Self::new(name, move || command::run(&mut command))
    }
}

/// The checks with these names, or all where none is named.
///
/// # Errors
///
/// When no check has one of the names.
pub(crate) fn select<'a>(checks: Vec<Check<'a>>, names: &[String]) -> Result<Vec<Check<'a>>, String> {
    for name in names {
        if !checks.iter().any(|check| check.name == *name) {
            let known: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
            return Err(format!("there is no check `{name}`; there are: {}", known.join(", ")));
        }
    }
    Ok(checks.into_iter().filter(|check| names.is_empty() || names.contains(&check.name)).collect())
}

struct Row {
    name: String,
    outcome: Outcome,
    time: Duration,
}

/// Runs all checks, even after one has failed, and prints the table and the verdict.
pub(crate) fn run_all(checks: Vec<Check<'_>>) -> ExitCode {
    let start = Instant::now();
    let count = checks.len();
    let mut rows = Vec::with_capacity(count);
    for (index, check) in checks.into_iter().enumerate() {
        heading(index + 1, count, &check.name);
        let check_start = Instant::now();
        let outcome = (check.run)();
        match &outcome {
            Outcome::Passed => say("-- passed"),
            Outcome::Failed(why) => say(format_args!("-- FAILED: {why}")),
            Outcome::NotChecked(why) => say(format_args!("-- not checked: {why}")),
        }
        rows.push(Row { name: check.name, outcome, time: check_start.elapsed() });
    }

    say("");
    print_table(&rows);
    let verdict = verdict(&rows, start.elapsed());
    say(&verdict);
    if failed(&rows).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_table(rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    for Row { name, outcome, time } in rows {
        let result = match outcome {
            Outcome::Passed => "passed".into(),
            Outcome::Failed(_) => "FAILED".into(),
            Outcome::NotChecked(why) => format!("not checked: {why}"),
        };
        say(format_args!("{name:width$} {:>7.1} s  {result}", time.as_secs_f64()));
    }
}

fn failed(rows: &[Row]) -> Vec<&str> {
    let failed = rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_)));
    failed.map(|row| row.name.as_str()).collect()
}

/// The last line of the output.
fn verdict(rows: &[Row], time: Duration) -> String {
    let failed = failed(rows);
    if !failed.is_empty() {
        return format!("ci FAILED: {}", failed.join(", "));
    }
    let passed = rows.iter().filter(|row| matches!(row.outcome, Outcome::Passed)).count();
    let rest = match rows.len() - passed {
        0 => String::new(),
        rest => format!(", {rest} not checked"),
    };
    format!("ci passed: {passed} checks in {}{rest}", duration(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(outcomes: Vec<Outcome>) -> Vec<Row> {
        let row = |(index, outcome)| Row { name: format!("c{index}"), outcome, time: Duration::ZERO };
        outcomes.into_iter().enumerate().map(row).collect()
    }

    #[test]
    fn checks_are_selected_by_name() {
        let checks = || ["fmt", "naming"].map(|name| Check::new(name, || Ok(()))).into();
        let selected = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let selected = select(checks(), &names)?;
            Ok(selected.into_iter().map(|check| check.name).collect::<Vec<_>>().join(", "))
        };
        assert_eq!(selected(&[]), Ok("fmt, naming".to_owned()));
        assert_eq!(selected(&["naming"]), Ok("naming".to_owned()));
        assert_eq!(selected(&["names"]), Err("there is no check `names`; there are: fmt, naming".to_owned()));
    }

    #[test]
    fn a_failure_is_named() {
        let rows =
            rows(vec![Outcome::Failed(String::new()), Outcome::Passed, Outcome::Failed(String::new())]);
        assert_eq!(verdict(&rows, Duration::ZERO), "ci FAILED: c0, c2");
    }

    #[test]
    fn what_was_not_checked_does_not_count_as_passed() {
        let time = Duration::from_secs(70);
        let all = rows(vec![Outcome::Passed, Outcome::Passed]);
        assert_eq!(verdict(&all, time), "ci passed: 2 checks in 1 min 10 s");
        let some = rows(vec![Outcome::Passed, Outcome::NotChecked(String::new())]);
        assert_eq!(verdict(&some, time), "ci passed: 1 checks in 1 min 10 s, 1 not checked");
    }
}
