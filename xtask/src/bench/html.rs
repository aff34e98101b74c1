//! The report as one page that needs nothing else: a table of lines, and the plots.

mod scale;
mod svg;
mod table;

use std::fmt::Write;

use super::report::Report;

/// The page, in UTF-8.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::with_capacity(64 * 1024);
    // Writing to a string does not fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> std::fmt::Result {
    page.push_str(HEAD);
    writeln!(page, "<h1>Bench of requestforge</h1>")?;
    let about = [&report.machine, &report.date, &report.commit];
    let about: Vec<String> =
        about.into_iter().filter(|text| !text.is_empty()).map(|text| escaped(text)).collect();
    writeln!(page, "<p class=\"about\">{}</p>", about.join(" · "))?;
    table::write(page, &report.lines)?;
    writeln!(page, "<div class=\"plots\">")?;
    for plot in &report.plots {
        svg::write(page, plot)?;
    }
    writeln!(page, "</div>\n</body>\n</html>")
}

/// As text between tags or in an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bench of requestforge</title>
<style>
:root { color-scheme: light dark; --page: #fff; --ink: #1c2024; --soft: #667078; --rule: #d9dde1; --band: #f4f6f8;
  --good: #12783f; --bad: #b3261e; --c0: #2563a8; --c1: #c2570c; --c2: #2e7d4f; --c3: #8a3f9e; --c4: #a8323e;
  --c5: #5c6b16; --c6: #0f7f86; --c7: #7a5a3a; }
@media (prefers-color-scheme: dark) { :root { --page: #16191c; --ink: #e4e7ea; --soft: #98a2ab; --rule: #343a40;
  --band: #1f2327; --good: #58c78a; --bad: #ff8a80; --c0: #6ea8e8; --c1: #f0974f; --c2: #6cc794; --c3: #cc8ae0;
  --c4: #f08792; --c5: #b6c663; --c6: #56c2c9; --c7: #c9a27c; } }
body { margin: 2rem auto; max-width: 84rem; padding: 0 1.5rem; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
.about, .note { color: var(--soft); }
.about { margin: 0 0 1.2rem; }
.note { font-size: .84rem; }
.tally { font-size: 1.05rem; margin: 0 0 1rem; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.soft { color: var(--soft); }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .38rem .7rem; border-bottom: 1px solid var(--rule); }
thead th { font-size: .84rem; color: var(--soft); font-weight: 600; }
tbody th { background: var(--band); font-weight: 600; }
td.number, th.number { text-align: right; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.verdict { white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1.8rem; margin-top: 2.2rem; }
figure { margin: 0; }
figcaption { font-weight: 600; margin-bottom: .2rem; }
.legend { font-size: .84rem; color: var(--soft); display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; }
.legend i { display: inline-block; width: .85em; height: .85em; border-radius: 2px; margin-right: .4em; vertical-align: -.06em; }
svg { width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
</style>
</head>
<body>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_and_no_markup() {
        assert_eq!(escaped("a < b && \"c\" > d"), "a &lt; b &amp;&amp; &quot;c&quot; &gt; d");
    }
}
