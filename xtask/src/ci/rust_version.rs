//! `rust-version` is exactly the version that our dependencies need.

use std::collections::{HashMap, HashSet};

use cargo_metadata::semver::Version;
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::workspace::{self, FACADE};

/// Fails when the members' `rust-version` is not the highest of their dependencies'.
///
/// # Errors
///
/// With the crates that need the highest version.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let stated = workspace::member(workspace, FACADE)?
        .rust_version
        .clone()
        .ok_or_else(|| format!("{FACADE} states no rust-version"))?;
    for member in workspace.workspace_packages() {
        if member.rust_version.as_ref() != Some(&stated) {
            return Err(format!("{} does not state rust-version {}", member.name, short(&stated)));
        }
    }
    let resolved = MetadataCommand::new()
        .manifest_path(workspace.workspace_root.join("Cargo.toml"))
        // cargo only resolves and compiles nothing, so all TLS stacks can be on.
        .features(CargoOpt::AllFeatures)
        .exec()
        .map_err(|error| error.to_string())?;
    judge(&stated, &dependencies(&resolved))
}

/// The crates that a user of a published crate compiles, and the version that each needs. Build dependencies count,
/// development dependencies do not.
fn dependencies(resolved: &Metadata) -> Vec<(String, Version)> {
    let nodes = resolved.resolve.as_ref().map(|resolve| resolve.nodes.as_slice()).unwrap_or_default();
    let nodes: HashMap<&PackageId, _> = nodes.iter().map(|node| (&node.id, node)).collect();

    let published =
        resolved.workspace_packages().into_iter().filter(|package| workspace::is_published(package));
    let mut open: Vec<&PackageId> = published.map(|package| &package.id).collect();
    let mut seen: HashSet<&PackageId> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in &node.deps {
            let compiled = dependency.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development);
            if compiled && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }

    let foreign =
        resolved.packages.iter().filter(|package| package.source.is_some() && seen.contains(&package.id));
    foreign
        .filter_map(|package| {
            let name = format!("{} {}", package.name, package.version);
            Some((name, package.rust_version.clone()?))
        })
        .collect()
}

fn judge(stated: &Version, dependencies: &[(String, Version)]) -> Result<(), String> {
    let Some(highest) = dependencies.iter().map(|(_, version)| version).max() else {
        return Err("no dependency states a rust-version".into());
    };
    if highest == stated {
        return Ok(());
    }
    let by: Vec<&str> = dependencies
        .iter()
        .filter(|(_, version)| version == highest)
        .map(|(name, _)| name.as_str())
        .collect();
    Err(format!(
        "rust-version is {}, and the highest that our dependencies need is {}, by {}",
        short(stated),
        short(highest),
        by.join(", "),
    ))
}

/// The version as manifests write it, without a patch level of 0.
fn short(version: &Version) -> String {
    let text = version.to_string();
    text.strip_suffix(".0").map(ToOwned::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(stated: &str, dependencies: &[(&str, &str)]) -> Result<(), String> {
        let version = |text: &str| Version::parse(text).unwrap();
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, asks)| ((*name).to_owned(), version(asks))).collect();
        judge(&version(stated), &dependencies)
    }

    #[test]
    fn the_highest_is_right() {
        assert_eq!(judged("1.88.0", &[("a 1.0.0", "1.9.0"), ("b 2.0.0", "1.88.0")]), Ok(()));
    }

    #[test]
    fn whoever_asks_for_more_is_named() {
        let expected =
            "rust-version is 1.9, and the highest that our dependencies need is 1.88.1, by b 2.0.0";
        assert_eq!(judged("1.9.0", &[("a 1.0.0", "1.10.0"), ("b 2.0.0", "1.88.1")]), Err(expected.into()));
    }

    #[test]
    fn more_than_needed_is_wrong_too() {
        let expected =
            "rust-version is 1.90, and the highest that our dependencies need is 1.88, by a 1.0.0, b 2.0.0";
        assert_eq!(judged("1.90.0", &[("a 1.0.0", "1.88.0"), ("b 2.0.0", "1.88.0")]), Err(expected.into()));
    }
}
