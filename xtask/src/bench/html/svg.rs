//! A plot as SVG.

use std::fmt::{self, Write};

use super::escaped;
use super::scale::{Scale, has_place};
use crate::bench::report::Plot;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 340.0;
/// The edges of the plot, at which the axes are.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;
/// As many as the page has.
const COLOURS: usize = 8;
/// A series with more points than this is drawn as a curve without markers.
const MARKED: usize = 40;

/// Writes a figure with its legend.
pub(super) fn write(page: &mut String, plot: &Plot) -> fmt::Result {
    writeln!(page, "<figure>\n<figcaption>{}</figcaption>\n<div class=\"legend\">", escaped(&plot.title))?;
    for (index, (name, _)) in plot.series.iter().enumerate() {
        let (colour, name) = (colour(index), escaped(name));
        writeln!(page, "<span><i style=\"background: {colour}\"></i>{name}</span>")?;
    }
    writeln!(page, "</div>")?;
    let is_shown = |(x, y): &&(f64, f64)| has_place(*x, plot.log_x) && has_place(*y, plot.log_y);
    let points = || plot.series.iter().flat_map(|(_, points)| points).filter(is_shown);
    let x = Scale::of(points().map(|(x, _)| *x), plot.log_x);
    let y = Scale::of(points().map(|(_, y)| *y), plot.log_y);
    match (x, y) {
        (Some(x), Some(y)) => write_svg(page, plot, &x, &y)?,
        _ => writeln!(page, "<p class=\"note\">nothing was measured</p>")?,
    }
    writeln!(page, "</figure>")
}

fn write_svg(page: &mut String, plot: &Plot, x: &Scale, y: &Scale) -> fmt::Result {
    let title = escaped(&plot.title);
    writeln!(page, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">")?;
    for tick in &y.ticks {
        let (at, right) = (down(y.place(*tick)), WIDTH - RIGHT);
        writeln!(page, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>")?;
        let (label, below) = (label(*tick), at + 4.0);
        writeln!(page, "<text x=\"{}\" y=\"{below:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0)?;
    }
    for tick in &x.ticks {
        let (at, bottom) = (across(x.place(*tick)), HEIGHT - BOTTOM);
        writeln!(page, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>")?;
        let label = label(*tick);
        writeln!(page, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", bottom + 17.0)?;
    }
    // The first series is ours, and lies above the others.
    for (index, (_, points)) in plot.series.iter().enumerate().rev() {
        write_curve(page, points, &colour(index), x, y)?;
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let (x, y) = (escaped(&plot.x), escaped(&plot.y));
    writeln!(page, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x}</text>", HEIGHT - 6.0)?;
    writeln!(page, "<text x=\"4\" y=\"14\">{y}</text>\n</svg>")
}

fn write_curve(page: &mut String, points: &[(f64, f64)], colour: &str, x: &Scale, y: &Scale) -> fmt::Result {
    let places: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|(at, value)| Some((across(Some(x.place(*at)?)), down(Some(y.place(*value)?)))))
        .collect();
    write!(page, "<polyline class=\"curve\" stroke=\"{colour}\" points=\"")?;
    for (across, down) in &places {
        write!(page, "{across:.1},{down:.1} ")?;
    }
    writeln!(page, "\"/>")?;
    if places.len() <= MARKED {
        for (across, down) in &places {
            writeln!(page, "<circle cx=\"{across:.1}\" cy=\"{down:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
        }
    }
    Ok(())
}

fn across(place: Option<f64>) -> f64 {
    LEFT + place.unwrap_or(0.0) * (WIDTH - LEFT - RIGHT)
}

fn down(place: Option<f64>) -> f64 {
    HEIGHT - BOTTOM - place.unwrap_or(0.0) * (HEIGHT - TOP - BOTTOM)
}

fn colour(index: usize) -> String {
    format!("var(--c{})", index % COLOURS)
}

/// A tick's value, short: they are round numbers.
fn label(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = format!("{value:.6}");
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        let series = vec![("ours & <theirs>".to_owned(), points)];
        Plot { title: "t".into(), x: "x".into(), y: "y".into(), log_x: true, log_y: false, series }
    }

    fn drawn(points: Vec<(f64, f64)>) -> String {
        let mut page = String::new();
        write(&mut page, &plot(points)).unwrap();
        page
    }

    #[test]
    fn a_curve_goes_from_corner_to_corner() {
        let page = drawn(vec![(1.0, 0.0), (100.0, 10.0)]);
        assert!(page.contains("points=\"64.0,296.0 622.0,28.0 \""), "{page}");
        assert_eq!(page.matches("<circle").count(), 2);
        assert!(page.contains("ours &amp; &lt;theirs&gt;"));
    }

    #[test]
    fn many_points_are_a_curve_alone() {
        let page = drawn((1..=100).map(|at| (f64::from(at), 1.0)).collect());
        assert!(page.contains("<polyline") && !page.contains("<circle"));
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        assert!(drawn(vec![(0.0, 1.0), (10.0, f64::NAN)]).contains("nothing was measured"));
        assert_eq!(drawn(vec![(0.0, 1.0), (10.0, 1.0)]).matches("<circle").count(), 1);
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.0, 0.05, 2.0, 2_500.0, 1e6].map(label);
        assert_eq!(labels, ["0", "0.05", "2", "2.5 k", "1 M"]);
    }
}
