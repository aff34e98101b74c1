//! The lines as a table, with how many goals are met above it.

use std::fmt::{self, Write};

use super::escaped;
use crate::bench::report::Line;
use crate::bench::table::number;

/// Writes a table with the lines of each suite below its name.
pub(super) fn write(page: &mut String, lines: &[Line]) -> fmt::Result {
    write_tally(page, lines)?;
    writeln!(page, "<div class=\"table\"><table>")?;
    let columns = "<th>what</th><th class=\"number\">figure</th><th>beside</th><th class=\"number\">ratio</th><th>goal</th><th></th>";
    writeln!(page, "<thead><tr>{columns}</tr></thead>\n<tbody>")?;
    let mut suite = None;
    for line in lines {
        if suite != Some(&line.suite) {
            suite = Some(&line.suite);
            writeln!(page, "<tr><th colspan=\"6\">{}</th></tr>", escaped(&line.suite))?;
        }
        write_line(page, line)?;
    }
    writeln!(page, "</tbody>\n</table></div>")
}

fn write_tally(page: &mut String, lines: &[Line]) -> fmt::Result {
    let count = |is_such: fn(&Line) -> bool| lines.iter().filter(|line| is_such(line)).count();
    let met = count(|line| line.met == Some(true));
    let not_met = count(|line| line.met == Some(false));
    let left_out = count(|line| line.met.is_none() && !line.goal.is_empty());
    write!(page, "<p class=\"tally\"><span class=\"good\">{met} goals met</span>, ")?;
    let class = if not_met == 0 { "soft" } else { "bad" };
    write!(page, "<span class=\"{class}\">{not_met} not met</span>")?;
    if left_out > 0 {
        write!(page, ", <span class=\"soft\">{left_out} not judged in this run</span>")?;
    }
    writeln!(page, "</p>")
}

fn write_line(page: &mut String, line: &Line) -> fmt::Result {
    write!(page, "<tr><td>{}", escaped(&line.name))?;
    for (name, text) in [("", &line.note), ("middle half: ", &line.spread)] {
        if let Some(text) = text {
            write!(page, "<div class=\"note\">{name}{}</div>", escaped(text))?;
        }
    }
    let figure = line.figure.map(|figure| format!("{} {}", number(figure), escaped(&line.unit)));
    write!(page, "</td><td class=\"number\">{}</td>", figure.unwrap_or_default())?;
    write!(page, "<td>{}</td>", escaped(&line.anchor))?;
    let ratio = line.ratio.map(|ratio| format!("{} ×", number(ratio)));
    write!(page, "<td class=\"number\">{}</td>", ratio.unwrap_or_default())?;
    writeln!(
        page,
        "<td>{}</td><td class=\"verdict {}\">{}</td></tr>",
        escaped(&line.goal),
        class(line),
        line.verdict(),
    )
}

fn class(line: &Line) -> &'static str {
    match line.met {
        Some(true) => "good",
        Some(false) => "bad",
        None => "soft",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_counts_each_verdict() {
        let lines = [
            Line::sample("a", Some(18.0), Some(true)),
            Line::sample("b", Some(22.0), Some(false)),
            Line::sample("c", Some(1.0), None),
            Line::sample("d", None, None),
        ];
        let mut page = String::new();
        write(&mut page, &lines).unwrap();
        assert!(page.contains("1 goals met"), "{page}");
        assert!(page.contains("class=\"bad\">1 not met"), "{page}");
        assert!(page.contains("2 not judged"), "{page}");
        assert_eq!(page.matches("colspan").count(), 1, "one suite");
        assert_eq!(page.matches(">full run only<").count(), 2, "with a figure, and without");
    }
}
