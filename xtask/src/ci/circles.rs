//! No two modules of a crate use each other.

mod paths;
mod uses;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{Metadata, TargetKind};

use uses::{Uses, uses};

/// Circles that are allowed: the crate, and all modules of the circle. There are none. Only the authentication kinds of
/// `forge-client`, which contain each other, may ever need an entry.
const ALLOWED: &[Circle] = &[];

/// A crate, and the modules that use each other in it, some by way of others.
type Circle = (&'static str, &'static [&'static str]);

/// Fails when top-level modules of a crate use each other in a circle that is not allowed, or when an allowed circle
/// is no longer there.
///
/// # Errors
///
/// With the modules of each circle and the places where they use each other, or when a source file cannot be read.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let mut offenders = Vec::new();
    for package in workspace.workspace_packages() {
        let programs_and_libraries = package.targets.iter().filter(|target| {
            let is_example = target.is_kind(TargetKind::Example);
            (target.is_kind(TargetKind::Lib) || target.is_kind(TargetKind::Bin)) && !is_example
        });
        for target in programs_and_libraries {
            let read = |path: &std::path::Path| std::fs::read_to_string(path).ok();
            let uses = uses(target.src_path.as_std_path(), &read)
                .map_err(|error| format!("cannot read the modules of {}: {error}", package.name))?;
            offenders.extend(judge(&target.name, &uses, ALLOWED));
        }
    }
    let root = format!("{}/", workspace.workspace_root);
    if offenders.is_empty() { Ok(()) } else { Err(offenders.join("\n").replace(&root, "")) }
}

/// The offences in the circles of a crate.
fn judge(name: &str, uses: &Uses, allowed: &[Circle]) -> Vec<String> {
    let name = name.replace('_', "-");
    let allowed: Vec<BTreeSet<&str>> = allowed
        .iter()
        .filter(|(of, _)| *of == name)
        .map(|(_, modules)| modules.iter().copied().collect())
        .collect();
    let circles = circles(uses);
    let mut offences = Vec::new();
    for circle in &circles {
        if !allowed.iter().any(|allowed| circle.is_subset(allowed)) {
            offences.push(format!("{name}: {}", describe(circle, uses)));
        }
    }
    for allowed in &allowed {
        if !circles.iter().any(|circle| allowed == circle) {
            let modules = allowed.iter().copied().collect::<Vec<_>>().join(", ");
            offences
                .push(format!("{name}: shorten the list of allowed circles: {modules} are no circle now"));
        }
    }
    offences
}

/// The largest sets of modules of which each uses each other one, directly or by way of others of the set.
fn circles(uses: &Uses) -> Vec<BTreeSet<&str>> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|(from, _)| (from.as_str(), reachable(from, uses))).collect();
    let reaches = |from: &str, to: &str| reachable.get(from).is_some_and(|modules| modules.contains(to));
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for module in reachable.keys().copied() {
        let is_known = circles.iter().any(|circle| circle.contains(module));
        if !is_known && reaches(module, module) {
            circles.push(reachable[module].iter().copied().filter(|other| reaches(other, module)).collect());
        }
    }
    circles
}

/// The modules that a module uses, directly or by way of others.
fn reachable<'u>(from: &str, uses: &'u Uses) -> BTreeSet<&'u str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for (_, to) in uses.keys().filter(|(from, _)| from == module) {
            if reached.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    reached
}

fn describe(circle: &BTreeSet<&str>, uses: &Uses) -> String {
    let modules: Vec<String> = circle.iter().map(|module| format!("`{module}`")).collect();
    let within =
        uses.iter().filter(|((from, to), _)| circle.contains(from.as_str()) && circle.contains(to.as_str()));
    let places: Vec<String> =
        within.map(|((from, to), place)| format!("\n   `{from}` uses `{to}`: {place}")).collect();
    format!("the modules {} use each other:{}", modules.join(", "), places.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses_of(edges: &[(&str, &str)]) -> Uses {
        let edge = |(from, to): &(&str, &str)| ((from.to_string(), to.to_string()), "src/x.rs:1".to_owned());
        edges.iter().map(edge).collect()
    }

    #[test]
    fn two_modules_that_use_each_other_are_named_with_the_places() {
        let uses = uses_of(&[("a", "b"), ("b", "a"), ("b", "c")]);
        let expected = "forge-x: the modules `a`, `b` use each other:\n   `a` uses `b`: src/x.rs:1\n   \
                        `b` uses `a`: src/x.rs:1";
        assert_eq!(judge("forge_x", &uses, &[]), [expected]);
        assert_eq!(judge("forge_x", &uses_of(&[("a", "b"), ("b", "c"), ("a", "c")]), &[]), [""; 0]);
    }

    #[test]
    fn a_circle_of_three_is_one_circle() {
        let uses = uses_of(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]);
        let offences = judge("forge-x", &uses, &[]);
        assert!(offences.len() == 1 && offences[0].contains("`a`, `b`, `c` use each other"), "{offences:?}");
    }

    #[test]
    fn an_allowed_circle_may_only_shrink() {
        let allowed: [Circle; 1] = [("forge-x", &["a", "b", "c"])];
        let three = [("a", "b"), ("b", "c"), ("c", "a")];
        assert_eq!(judge("forge-x", &uses_of(&three), &allowed), [""; 0]);
        // The check asks for a shorter list after a smaller circle, and refuses a larger one.
        assert_eq!(judge("forge-x", &uses_of(&[("a", "b"), ("b", "a")]), &allowed).len(), 1);
        let four = [&three[..], &[("a", "d"), ("d", "a")]].concat();
        assert!(judge("forge-x", &uses_of(&four), &allowed)[0].contains("use each other"));
        assert!(judge("forge-x", &uses_of(&[]), &allowed)[0].contains("shorten the list"));
        assert!(judge("forge-y", &uses_of(&three), &allowed)[0].contains("use each other"));
    }
}
