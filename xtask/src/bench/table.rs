//! The table on the terminal.

use super::report::Line;
use crate::report::say;

/// Prints the lines of a suite, each followed by its anchor.
pub(crate) fn print(lines: &[&Line]) {
    for row in rows(lines) {
        say(row);
    }
}

fn rows(lines: &[&Line]) -> Vec<String> {
    let width = |text: fn(&Line) -> String| {
        lines.iter().map(|line| text(line).chars().count()).max().unwrap_or_default()
    };
    let (name, figure, ratio, goal) =
        (width(|line| line.name.clone()), width(figure), width(ratio), width(|line| line.goal.clone()));
    let mut rows = Vec::new();
    for line in lines {
        let row = format!(
            "{:name$}  {:>figure$}  {:>ratio$}  {:goal$}  {}",
            line.name,
            self::figure(line),
            self::ratio(line),
            line.goal,
            line.verdict(),
        );
        rows.push(row.trim_end().to_owned());
        let spread = line.spread.as_ref().map(|spread| format!("middle half: {spread}"));
        let beside =
            [Some(line.anchor.clone()).filter(|anchor| !anchor.is_empty()), spread, line.note.clone()];
        let beside: Vec<String> = beside.into_iter().flatten().collect();
        if !beside.is_empty() {
            rows.push(format!("    {}", beside.join("; ")));
        }
    }
    rows
}

fn figure(line: &Line) -> String {
    line.figure.map_or_else(|| "–".to_owned(), |figure| format!("{} {}", number(figure), line.unit))
}

fn ratio(line: &Line) -> String {
    line.ratio.map_or_else(String::new, |ratio| format!("{} ×", number(ratio)))
}

/// Three digits that count, and all those before the point.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if value.fract() == 0.0 => 0,
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The number of lines with each verdict.
pub(crate) fn verdict(lines: &[Line]) -> String {
    let with_goal: Vec<&Line> = lines.iter().filter(|line| !line.goal.is_empty()).collect();
    let number_of = |verdict: &str| with_goal.iter().filter(|line| line.verdict() == verdict).count();
    let parts =
        ["met", "NOT MET", "full run only", "not measured"].map(|verdict| (number_of(verdict), verdict));
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, verdict)| format!("{number} {verdict}")).collect();
    let missed = with_goal.iter().filter(|line| line.met == Some(false));
    let missed: Vec<String> = missed.map(|line| format!("\n  {}: {}", line.suite, line.name)).collect();
    format!("goals: {}{}", parts.join(", "), missed.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let (one, other) =
            (Line::sample("short", Some(1234.5), Some(true)), Line::sample("a longer name", None, None));
        let rows = rows(&[&one, &Line { anchor: "a peer".into(), ..other }]);
        assert_eq!(
            rows,
            [
                "short          1234 ns    ≤ 20 ns  met",
                "a longer name        –    ≤ 20 ns  full run only",
                "    a peer",
            ]
        );
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        let shown = [0.01234, 0.5, 1.0, 1.234, 18.26, 93.0, 64_796.4].map(number);
        assert_eq!(shown, ["0.012", "0.500", "1", "1.23", "18.3", "93", "64796"]);
    }

    #[test]
    fn the_verdict_names_what_was_missed() {
        let lines = [
            Line::sample("a", Some(1.0), Some(true)),
            Line::sample("b", Some(30.0), Some(false)),
            Line::sample("c", None, None),
            Line { goal: String::new(), ..Line::sample("d", Some(1.0), None) },
            Line { goal: String::new(), ..Line::sample("e", None, None) },
        ];
        assert_eq!(verdict(&lines), "goals: 1 met, 1 NOT MET, 1 full run only\n  hit: b");
    }
}
