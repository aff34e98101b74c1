use std::fmt::Display;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::quartiles;

/// Prints the current work on standard error.
pub fn progress(what: impl Display) {
    let _ = writeln!(io::stderr(), "   {what}");
}

/// One line of the table: a figure, the value that it is compared with, and whether it meets its goal.
#[derive(Clone, Debug)]
#[must_use = "it is seen only when printed"]
pub struct Line {
    name: String,
    figure: Option<f64>,
    unit: String,
    anchor: String,
    ratio: Option<f64>,
    goal: String,
    met: Option<bool>,
    spread: Option<String>,
    note: Option<String>,
}

impl Line {
    /// A line with a figure.
    pub fn new(name: impl Into<String>, figure: f64, unit: impl Into<String>) -> Self {
        Self { figure: figure.is_finite().then_some(figure), unit: unit.into(), ..Self::bare(name) }
    }

    /// A line whose figure takes longer to measure than a quick run may take.
    pub fn full_run_only(name: impl Into<String>, goal: impl Into<String>) -> Self {
        Self { goal: goal.into(), ..Self::bare(name) }
    }

    /// A line whose figure would say nothing, with the reason.
    pub fn not_measured(name: impl Into<String>, goal: impl Into<String>, why: impl Into<String>) -> Self {
        Self { goal: goal.into(), note: Some(why.into()), ..Self::bare(name) }
    }

    fn bare(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            figure: None,
            unit: String::new(),
            anchor: String::new(),
            ratio: None,
            goal: String::new(),
            met: None,
            spread: None,
            note: None,
        }
    }

    /// The value from the same run that the figure is compared with.
    pub fn anchor(self, anchor: impl Into<String>) -> Self {
        Self { anchor: anchor.into(), ..self }
    }

    /// The figure, divided by the anchor's value.
    pub fn ratio(self, ratio: f64) -> Self {
        Self { ratio: ratio.is_finite().then_some(ratio), ..self }
    }

    /// The goal of the figure, and whether the figure meets it.
    pub fn goal(self, goal: impl Into<String>, met: bool) -> Self {
        Self { goal: goal.into(), met: Some(met), ..self }
    }

    /// A goal that only a full run can check.
    pub fn goal_of_full_run(self, goal: impl Into<String>) -> Self {
        Self { goal: goal.into(), met: None, ..self }
    }

    /// The spread of the rounds.
    pub fn spread(self, spread: impl Into<String>) -> Self {
        Self { spread: Some(spread.into()), ..self }
    }

    /// The spread of these rounds, if there is more than one.
    pub fn spread_of(self, rounds: &[f64]) -> Self {
        if rounds.len() > 1 { self.spread(quartiles(rounds)) } else { self }
    }

    /// A remark for the reader of the report.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Prints this for `cargo xtask bench`.
    pub fn print(&self) {
        print(&self.message());
    }

    fn message(&self) -> Value {
        json!({ "line": {
            "name": self.name, "figure": self.figure, "unit": self.unit, "anchor": self.anchor,
            "ratio": self.ratio, "goal": self.goal, "met": self.met, "spread": self.spread,
            "note": self.note,
        } })
    }
}

/// A drawing of several series of points.
#[derive(Clone, Debug)]
#[must_use = "it is seen only when printed"]
pub struct Plot {
    title: String,
    x: String,
    y: String,
    log_x: bool,
    log_y: bool,
    series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// An empty drawing. `x` and `y` name the axes, with units.
    pub fn new(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>) -> Self {
        let (title, x, y) = (title.into(), x.into(), y.into());
        Self { title, x, y, log_x: false, log_y: false, series: Vec::new() }
    }

    /// Sets whether each axis is logarithmic.
    pub fn logarithmic(self, log_x: bool, log_y: bool) -> Self {
        Self { log_x, log_y, ..self }
    }

    /// Adds a series.
    pub fn series(mut self, name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        self.series.push((name.into(), points));
        self
    }

    /// Prints this for `cargo xtask bench`.
    pub fn print(&self) {
        let series = |(name, points): &(String, Vec<(f64, f64)>)| json!({ "name": name, "points": points });
        let series: Vec<Value> = self.series.iter().map(series).collect();
        print(&json!({ "plot": {
            "title": self.title, "x": self.x, "y": self.y, "log_x": self.log_x, "log_y": self.log_y,
            "series": series,
        } }));
    }
}

/// Asks `cargo xtask bench` for a line whose figure is a number of instructions. It runs the case twice
/// under callgrind, with two numbers of repetitions. The instructions beside the work are the same in both
/// runs.
#[derive(Clone, Debug)]
#[must_use = "it is asked for only when printed"]
pub struct Count {
    name: String,
    case: String,
    against: Option<String>,
    times: (usize, usize),
    at_most: Option<f64>,
    ratio_at_most: Option<f64>,
    goal: String,
    note: Option<String>,
    misses: bool,
}

impl Count {
    /// The instructions of one repetition of `case`, from two runs with these numbers of repetitions.
    pub fn new(name: impl Into<String>, case: impl Into<String>, times: (usize, usize)) -> Self {
        Self {
            name: name.into(),
            case: case.into(),
            against: None,
            times,
            at_most: None,
            ratio_at_most: None,
            goal: String::new(),
            note: None,
            misses: false,
        }
    }

    /// Counts another case as the anchor.
    pub fn against(self, case: impl Into<String>) -> Self {
        Self { against: Some(case.into()), ..self }
    }

    /// The goal: at most this many instructions.
    pub fn at_most(self, instructions: f64) -> Self {
        Self { goal: format!("≤ {instructions} instructions"), at_most: Some(instructions), ..self }
    }

    /// The goal: at most this part of the anchor's instructions.
    pub fn ratio_at_most(self, ratio: f64) -> Self {
        Self { goal: format!("≤ {ratio} ×"), ratio_at_most: Some(ratio), ..self }
    }

    /// A remark for the reader of the report.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Also reports, in the note, how often the first-level caches miss.
    pub fn with_misses(self) -> Self {
        Self { misses: true, ..self }
    }

    /// Prints this for `cargo xtask bench`.
    pub fn print(&self) {
        print(&json!({ "count": {
            "name": self.name, "case": self.case, "against": self.against,
            "times": [self.times.0, self.times.1], "at_most": self.at_most,
            "ratio_at_most": self.ratio_at_most, "goal": self.goal, "note": self.note,
            "misses": self.misses,
        } }));
    }
}

fn print(message: &Value) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{message}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_all_that_the_report_has() {
        let line = Line::new("hit", 18.0, "ns").anchor("peer 90 ns").ratio(0.2).goal("≤ 20 ns", true);
        let expected = json!({ "line": {
            "name": "hit", "figure": 18.0, "unit": "ns", "anchor": "peer 90 ns", "ratio": 0.2,
            "goal": "≤ 20 ns", "met": true, "spread": null, "note": null,
        } });
        assert_eq!(line.message(), expected);
    }

    #[test]
    fn what_was_not_measured_has_no_figure() {
        let line = Line::full_run_only("build", "≤ 1.3 ×").message();
        assert!(line["line"]["figure"].is_null() && line["line"]["met"].is_null());
        assert!(Line::new("nothing", f64::NAN, "ns").message()["line"]["figure"].is_null());
    }

    #[test]
    fn what_could_not_be_measured_says_why() {
        let line = Line::not_measured("hit", "≤ 20 ns", "no processor").message();
        let line = &line["line"];
        assert!(line["figure"].is_null() && line["met"].is_null());
        assert_eq!((&line["goal"], &line["note"]), (&json!("≤ 20 ns"), &json!("no processor")));
    }

    #[test]
    fn one_round_has_no_spread() {
        let spread = |rounds: &[f64]| {
            Line::new("storm", 1.0, "ms").spread_of(rounds).message()["line"]["spread"].clone()
        };
        assert!(spread(&[]).is_null() && spread(&[323.369]).is_null());
        assert_eq!(spread(&[1.0, 5.0]), json!("2.000 to 4.000"));
    }
}
