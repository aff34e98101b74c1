//! The messages of the bench programs, and the report of all of them.

use serde_json::{Value, json};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) plots: Vec<Plot>,
}

/// One figure, the figures to compare it with, and whether its goal is met.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) suite: String,
    pub(crate) name: String,
    /// `None`: it was not measured.
    pub(crate) figure: Option<f64>,
    pub(crate) unit: String,
    pub(crate) anchor: String,
    pub(crate) ratio: Option<f64>,
    /// Empty: there is none.
    pub(crate) goal: String,
    pub(crate) met: Option<bool>,
    pub(crate) spread: Option<String>,
    pub(crate) note: Option<String>,
}

/// A drawing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) log_x: bool,
    pub(crate) log_y: bool,
    /// Each with a name.
    pub(crate) series: Vec<(String, Vec<(f64, f64)>)>,
}

/// A line whose figure is a number of instructions, which callgrind counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Count {
    pub(crate) name: String,
    pub(crate) case: String,
    pub(crate) against: Option<String>,
    /// The number of operations in each of the two runs whose difference counts.
    pub(crate) times: (u64, u64),
    pub(crate) at_most: Option<f64>,
    pub(crate) ratio_at_most: Option<f64>,
    pub(crate) goal: String,
    pub(crate) note: Option<String>,
    /// Whether the report also shows cache misses.
    pub(crate) misses: bool,
}

/// One line of a bench program's output.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Line(Line),
    Plot(Plot),
    Count(Count),
}

impl Report {
    pub(crate) fn new(machine: String, date: String, commit: String) -> Self {
        Self { machine, date, commit, lines: Vec::new(), plots: Vec::new() }
    }

    pub(crate) fn add(&mut self, suite: &str, line: Line) {
        self.lines.push(Line { suite: suite.to_owned(), ..line });
    }

    pub(crate) fn of_suite(&self, suite: &str) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.suite == suite).collect()
    }

    /// As `report.json`.
    pub(crate) fn to_json(&self) -> String {
        let json = json!({
            "machine": self.machine,
            "date": self.date,
            "commit": self.commit,
            "lines": self.lines.iter().map(Line::to_json).collect::<Vec<_>>(),
            "plots": self.plots.iter().map(Plot::to_json).collect::<Vec<_>>(),
        });
        format!("{json:#}\n")
    }
}

impl Line {
    /// The verdict in a word or two; empty if there is no goal.
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.met, self.figure, &self.note) {
            (Some(true), ..) => "met",
            (Some(false), ..) => "NOT MET",
            // The note gives the reason.
            (None, None, Some(_)) => "not measured",
            (None, Some(_), _) if self.goal.is_empty() => "",
            // A quick run has no figure, or is not sure enough of it.
            (None, ..) => "full run only",
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "suite": self.suite,
            "name": self.name,
            "figure": self.figure,
            "unit": self.unit,
            "anchor": self.anchor,
            "ratio": self.ratio,
            "goal": self.goal,
            "met": self.met,
            "spread": self.spread,
            "note": self.note,
        })
    }
}

impl Plot {
    fn to_json(&self) -> Value {
        let series = |(name, points): &(String, Vec<(f64, f64)>)| json!({ "name": name, "points": points });
        json!({
            "title": self.title,
            "x": self.x,
            "y": self.y,
            "log_x": self.log_x,
            "log_y": self.log_y,
            "series": self.series.iter().map(series).collect::<Vec<_>>(),
        })
    }
}

impl Message {
    /// # Errors
    ///
    /// It is none.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(line) = json.get("line") {
            return Ok(Self::Line(Line {
                suite: String::new(),
                name: string(line, "name"),
                figure: line["figure"].as_f64(),
                unit: string(line, "unit"),
                anchor: string(line, "anchor"),
                ratio: line["ratio"].as_f64(),
                goal: string(line, "goal"),
                met: line["met"].as_bool(),
                spread: optional(line, "spread"),
                note: optional(line, "note"),
            }));
        }
        if let Some(plot) = json.get("plot") {
            return Ok(Self::Plot(Plot {
                title: string(plot, "title"),
                x: string(plot, "x"),
                y: string(plot, "y"),
                log_x: plot["log_x"].as_bool().unwrap_or(false),
                log_y: plot["log_y"].as_bool().unwrap_or(false),
                series: plot["series"].as_array().into_iter().flatten().map(series).collect(),
            }));
        }
        if let Some(count) = json.get("count") {
            let times = |place: usize| count["times"][place].as_u64().unwrap_or(0);
            return Ok(Self::Count(Count {
                name: string(count, "name"),
                case: string(count, "case"),
                against: optional(count, "against"),
                times: (times(0), times(1)),
                at_most: count["at_most"].as_f64(),
                ratio_at_most: count["ratio_at_most"].as_f64(),
                goal: string(count, "goal"),
                note: optional(count, "note"),
                misses: count["misses"].as_bool().unwrap_or(false),
            }));
        }
        Err(format!("the program printed `{text}`, which is no message"))
    }
}

fn string(value: &Value, field: &str) -> String {
    optional(value, field).unwrap_or_default()
}

fn optional(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().map(str::to_owned)
}

fn series(value: &Value) -> (String, Vec<(f64, f64)>) {
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
    let points = value["points"].as_array().into_iter().flatten().filter_map(point).collect();
    (string(value, "name"), points)
}

#[cfg(test)]
impl Line {
    /// One with a goal, of the suite `hit`.
    pub(crate) fn sample(name: &str, figure: Option<f64>, met: Option<bool>) -> Self {
        Self {
            suite: "hit".into(),
            name: name.into(),
            figure,
            unit: "ns".into(),
            goal: "≤ 20 ns".into(),
            met,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            name: "hit".into(),
            figure: Some(18.5),
            unit: "ns".into(),
            anchor: "a peer: 90 ns".into(),
            ratio: Some(0.2),
            goal: "≤ 20 ns".into(),
            met: Some(true),
            ..Line::default()
        }
    }

    #[test]
    fn the_report_holds_what_the_program_said() {
        let said = json!({ "line": {
            "name": "hit", "figure": 18.5, "unit": "ns", "anchor": "a peer: 90 ns", "ratio": 0.2,
            "goal": "≤ 20 ns", "met": true, "spread": null, "note": null,
        } });
        assert_eq!(Message::read(&said.to_string()), Ok(Message::Line(line())));
        let mut report = Report::new("m".into(), "d".into(), "c".into());
        report.add("hit", line());
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["lines"][0]["figure"], 18.5);
        assert_eq!(json["lines"][0]["met"], true);
        assert_eq!(json["lines"][0]["suite"], "hit");
    }

    #[test]
    fn plots_and_counts_are_read() {
        let plot = json!({ "plot": {
            "title": "t", "x": "callers", "y": "ms", "log_x": true, "log_y": false,
            "series": [{ "name": "s", "points": [[1, 2.5], [10, 3]] }],
        } });
        let Ok(Message::Plot(plot)) = Message::read(&plot.to_string()) else { panic!("no plot") };
        assert!(plot.log_x && !plot.log_y);
        assert_eq!(plot.series, [("s".to_owned(), vec![(1.0, 2.5), (10.0, 3.0)])]);
        let count = json!({ "count": {
            "name": "n", "case": "c", "against": "a", "times": [10, 110], "at_most": 180.0,
            "ratio_at_most": null, "goal": "g", "note": null, "misses": true,
        } });
        let Ok(Message::Count(count)) = Message::read(&count.to_string()) else { panic!("no count") };
        assert_eq!(
            (count.times, count.at_most, count.against.as_deref()),
            ((10, 110), Some(180.0), Some("a"))
        );
        assert!(count.misses);
    }

    #[test]
    fn anything_else_is_an_error_that_shows_it() {
        assert!(Message::read("hello").is_err_and(|why| why.contains("hello")));
    }

    #[test]
    fn what_was_not_measured_says_so() {
        let not_measured = Line { figure: None, met: None, ..line() };
        assert_eq!(not_measured.verdict(), "full run only");
        let unsure = Line { figure: Some(1.0), ..not_measured.clone() };
        assert_eq!(unsure.verdict(), "full run only");
        assert_eq!(Line { goal: String::new(), ..unsure }.verdict(), "");
        assert_eq!(Line { note: Some("why".into()), ..not_measured }.verdict(), "not measured");
        assert_eq!(Line { met: Some(false), ..line() }.verdict(), "NOT MET");
        assert_eq!(Line { met: None, goal: String::new(), ..line() }.verdict(), "");
    }
}
