//! Dependencies of the core below 1.0. ARCHITECTURE.md has to give the reason for each.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, Package};

use crate::workspace;

/// The crate whose dependencies matter: all our APIs show its types.
const CORE: &str = "forge-core";
const PAGE: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Dependencies below 1.0";

/// Fails when the table of dependencies below 1.0 does not name those that the core has. The check does not look for
/// them in the API; it only makes the author of a new one write down the reason.
///
/// # Errors
///
/// With the names that only one of the two has, or when the page has no such table.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let core = workspace::member(workspace, CORE)?;
    let path = workspace.workspace_root.join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    compare(&below_one(core), &listed(&page)?)
}

fn below_one(package: &Package) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    // Our own crates come from a path and do not count.
    let strangers = normal.filter(|dependency| dependency.source.is_some());
    let below = strangers.filter(|dependency| dependency.req.comparators.iter().any(|part| part.major == 0));
    below.map(|dependency| dependency.name.clone()).collect()
}

/// The first cells of the table below the heading.
fn listed(page: &str) -> Result<BTreeSet<String>, String> {
    let missing = || format!("{PAGE} has no section `{HEADING}`");
    let (_, section) = page.split_once(&format!("\n{HEADING}\n")).ok_or_else(missing)?;
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    Ok(rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect())
}

fn compare(have: &BTreeSet<String>, listed: &BTreeSet<String>) -> Result<(), String> {
    let names = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let unlisted = names(have.difference(listed).collect());
    let gone = names(listed.difference(have).collect());
    match (unlisted.as_str(), gone.as_str()) {
        ("", "") => Ok(()),
        (unlisted, "") => Err(format!("`{HEADING}` in {PAGE} does not name: {unlisted}")),
        ("", gone) => {
            Err(format!("`{HEADING}` in {PAGE} names dependencies that {CORE} does not have: {gone}"))
        }
        (unlisted, gone) => Err(format!(
            "`{HEADING}` in {PAGE} does not name {unlisted}, and names {gone}, which {CORE} does not have"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_below_the_heading_is_read_and_no_other() {
        let page = "# A\n| `x` | y |\n## Dependencies below 1.0\n\ntext `z`\n\n| dependency |\n| --- |\n| `a` | no |\n\
                    | `b-c` | yes, `d` |\n\n## Next\n| `e` |\n";
        assert_eq!(listed(page), Ok(set(&["a", "b-c"])));
        assert!(listed("# A\n").is_err());
    }

    #[test]
    fn what_only_one_of_the_two_has_is_named() {
        assert_eq!(compare(&set(&["a"]), &set(&["a"])), Ok(()));
        assert!(compare(&set(&["a", "b"]), &set(&["a"])).is_err_and(|error| error.ends_with("name: b")));
        assert!(compare(&set(&["a"]), &set(&["a", "b"])).is_err_and(|error| error.ends_with("have: b")));
    }
}
