//! The arrows between our crates: each may depend on some of the others.

use cargo_metadata::{DependencyKind, Metadata};

/// The normal dependencies that each crate may have. A crate that is not listed may depend on none of ours.
///
/// Development dependencies are free, since the users of a crate do not build them. xtask may have none: it has to build
/// when no other crate does.
const ALLOWED: [(&str, &[&str]); 8] = [
    (
        "requestforge",
        &[
            "forge-client",
            "forge-config",
            "forge-core",
            "forge-pipeline",
            "forge-storage-encrypted",
            "forge-storage-memory",
            "forge-storage-redis",
            "forge-token",
        ],
    ),
    ("forge-client", &["forge-core"]),
    ("forge-config", &["forge-client", "forge-core", "forge-storage-redis", "forge-token"]),
    ("forge-pipeline", &["forge-core", "forge-token"]),
    ("forge-storage-encrypted", &["forge-core"]),
    ("forge-storage-memory", &["forge-core"]),
    ("forge-storage-redis", &["forge-core"]),
    ("forge-token", &["forge-core"]),
];

/// These may depend on all that they test, measure or show.
const FREE: [&str; 3] = ["forge-benches", "forge-examples", "forge-tests"];
/// May not depend on ours in any way.
const APART: &str = "xtask";

/// Fails when a member depends on another and [`ALLOWED`] does not list it.
///
/// # Errors
///
/// With each dependency that is not allowed, one per line.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let members = workspace.workspace_packages();
    let mut wrong = Vec::new();
    for package in &members {
        for dependency in &package.dependencies {
            // Our crates come from a path; a crate of a registry may have the same name.
            let ours = members.iter().any(|member| member.name == dependency.name);
            if ours && dependency.source.is_none() {
                wrong.extend(violation(&package.name, &dependency.name, dependency.kind));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n   ")) }
}

/// The offence of a dependency, or `None` if it is allowed.
fn violation(from: &str, to: &str, kind: DependencyKind) -> Option<String> {
    let allowed = ALLOWED.iter().find(|(name, _)| *name == from).map_or(&[][..], |(_, to)| *to);
    let fine = match kind {
        _ if FREE.contains(&from) => true,
        _ if from == APART || to == APART => false,
        DependencyKind::Development => true,
        _ => allowed.contains(&to),
    };
    let may = if allowed.is_empty() { "none of ours".into() } else { allowed.join(", ") };
    (!fine).then(|| format!("{from} → {to} ({kind} dependency) is not allowed; allowed: {from} → {may}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DependencyKind::{Build, Development, Normal};

    #[test]
    fn the_house_stands() {
        for (from, to) in [
            ("requestforge", "forge-client"),
            ("requestforge", "forge-storage-redis"),
            ("forge-client", "forge-core"),
            ("forge-config", "forge-client"),
            ("forge-config", "forge-token"),
            ("forge-token", "forge-core"),
            ("forge-storage-memory", "forge-core"),
            ("forge-storage-encrypted", "forge-core"),
            ("forge-pipeline", "forge-token"),
            ("forge-tests", "requestforge"),
            ("forge-tests", "forge-token"),
            ("forge-examples", "requestforge"),
        ] {
            assert_eq!(violation(from, to, Normal), None, "{from} → {to}");
        }
    }

    #[test]
    fn other_arrows_are_named() {
        for (from, to) in [
            ("forge-core", "forge-token"),
            ("forge-client", "forge-token"),
            ("forge-client", "forge-config"),
            ("forge-config", "forge-pipeline"),
            ("forge-token", "forge-storage-memory"),
            ("forge-storage-redis", "forge-client"),
            ("forge-storage-encrypted", "forge-storage-redis"),
            ("forge-pipeline", "forge-client"),
            ("requestforge", "forge-tests"),
            ("forge-newcomer", "forge-core"),
        ] {
            assert!(violation(from, to, Normal).is_some(), "{from} → {to}");
            assert!(violation(from, to, Build).is_some(), "{from} → {to}");
        }
        let text = violation("forge-client", "forge-token", Normal);
        let expected = "forge-client → forge-token (normal dependency) is not allowed; allowed: \
                        forge-client → forge-core";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn tests_of_a_crate_may_use_others() {
        assert_eq!(violation("forge-token", "forge-storage-memory", Development), None);
        assert_eq!(violation("requestforge", "forge-tests", Development), None);
    }

    #[test]
    fn xtask_stays_apart() {
        for kind in [Normal, Build, Development] {
            assert!(violation("xtask", "forge-core", kind).is_some());
            assert!(violation("forge-core", "xtask", kind).is_some());
        }
    }
}
