//! Clippy and rustdoc on the sets of features that users choose.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use cargo_metadata::{Metadata, Package};

use crate::ci::check::{Check, Outcome};
use crate::command::{capture, cargo, run};
use crate::workspace::{self, FACADE};

const NATIVE_TLS: &str = "native-tls";

/// Clippy on the workspace, on each feature of the facade alone, and on each member alone.
///
/// Sets with few features check the library only. Tests and examples bring development dependencies, which would switch
/// on features that the library lacks.
pub(crate) fn clippy<'a>(workspace: &'a Metadata, facade: &Package) -> Vec<Check<'a>> {
    let clippy = |name: &str, args: &[&str]| {
        let mut command = cargo(&workspace.workspace_root);
        command.arg("clippy").args(args).args(["--", "-D", "warnings"]);
        (format!("clippy {name}"), command)
    };
    let check = |(name, command)| Check::command(name, command);

    let all = workspace::all_features(workspace);
    let mut checks = vec![
        check(clippy("workspace", &["--workspace", "--all-targets"])),
        check(clippy("workspace all-features", &["--workspace", "--all-targets", "--features", &all])),
        check(clippy("facade no-features", &["-p", FACADE, "--no-default-features", "--lib"])),
    ];

    for feature in facade.features.keys().filter(|feature| *feature != "default") {
        let args = ["-p", FACADE, "--no-default-features", "--features", feature, "--lib"];
        let (name, mut command) = clippy(&format!("facade {feature}"), &args);
        checks.push(if feature == NATIVE_TLS {
            Check::new(name, move || with_openssl(|| run(&mut command)))
        } else {
            Check::command(name, command)
        });
    }

    // Cargo unifies the features of common dependencies when it builds members together, and hides that one is missing.
    for member in workspace.workspace_packages().into_iter().filter(|member| member.name != FACADE) {
        let name = member.name.as_str();
        checks.push(check(clippy(name, &["-p", name, "--all-targets"])));
        if workspace::is_published(member) {
            let args = ["-p", name, "--no-default-features", "--lib"];
            checks.push(check(clippy(&format!("{name} no-features"), &args)));
        }
    }
    checks
}

/// Clippy on each two features of the facade that affect the same crate. Two features that affect different crates need
/// no check together: [`clippy`] checks each alone.
pub(crate) fn pairs<'a>(workspace: &'a Metadata, facade: &Package) -> [Check<'a>; 2] {
    // Other checks cover the default set and `full`.
    let names = facade.features.keys().filter(|name| !["default", "full"].contains(&name.as_str()));
    let all = each_two(&names.map(String::as_str).collect::<Vec<_>>(), |one, two| {
        !crates(&facade.features, one).is_disjoint(&crates(&facade.features, two))
    });
    let (native, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|pair| pair.contains(NATIVE_TLS));
    [
        Check::new("facade, each two features", move || check_all(workspace, &others)),
        Check::new("facade, native-tls and each other", move || {
            with_openssl(|| check_all(workspace, &native))
        }),
    ]
}

/// `a,b` for each two of these that meet.
fn each_two(features: &[&str], meet: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut pairs = Vec::new();
    for (index, one) in features.iter().enumerate() {
        let later = features[index + 1..].iter().filter(|two| meet(one, two));
        pairs.extend(later.map(|two| format!("{one},{two}")));
    }
    pairs
}

/// The crates that a feature affects: those that it adds, and those whose features it turns on.
fn crates<'f>(features: &'f BTreeMap<String, Vec<String>>, name: &str) -> BTreeSet<&'f str> {
    let mut crates = BTreeSet::new();
    for value in features.get(name).into_iter().flatten() {
        if let Some(added) = value.strip_prefix("dep:") {
            crates.insert(added);
        } else if let Some((of, _)) = value.split_once('/') {
            crates.insert(of.trim_end_matches('?'));
        } else {
            crates.extend(self::crates(features, value));
        }
    }
    crates
}

/// Checks all of these sets, even after one has failed.
fn check_all(workspace: &Metadata, sets: &[String]) -> Result<(), String> {
    let fails = |set: &&String| {
        let mut command = cargo(&workspace.workspace_root);
        command.args([
            "clippy",
            "--quiet",
            "-p",
            FACADE,
            "--no-default-features",
            "--features",
            set,
            "--lib",
        ]);
        run(command.args(["--", "-D", "warnings"])).is_err()
    };
    let failed: Vec<&str> = sets.iter().filter(fails).map(String::as_str).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join(" and ")) }
}

/// Tests TLS to Redis with the one crypto library that our feature brings, and with none.
///
/// The suite `redis_tls` tests it with two: there cargo unifies the features of the members.
pub(crate) fn redis_tls_alone(workspace: &Metadata) -> [Check<'static>; 2] {
    ["rustls", "rustls-no-provider"].map(|feature| {
        let mut command = cargo(&workspace.workspace_root);
        command.args(["test", "-p", "forge-storage-redis", "--features", feature, "--lib", "tls::"]);
        Check::command(format!("TLS to Redis by {feature} alone"), command)
    })
}

/// The documentation, without a warning.
pub(crate) fn rustdoc(workspace: &Metadata) -> Check<'static> {
    let mut command = cargo(&workspace.workspace_root);
    command.args(["doc", "--workspace", "--no-deps", "--features", &workspace::all_features(workspace)]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    Check::command("rustdoc", command)
}

fn with_openssl(check: impl FnOnce() -> Result<(), String>) -> Outcome {
    // These two systems have a TLS stack of their own.
    let needs_openssl = !cfg!(any(target_os = "macos", windows));
    let by_hand = env::var_os("OPENSSL_DIR").is_some();
    let by_pkg_config = || capture(Command::new("pkg-config").args(["--exists", "openssl"])).is_ok();
    if needs_openssl && !by_hand && !by_pkg_config() {
        let why = "pkg-config finds no OpenSSL development files on this machine";
        return Outcome::NotChecked(why.into());
    }
    check().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_two_are_looked_at_once() {
        assert_eq!(each_two(&["a", "b", "c"], |_, _| true), ["a,b", "a,c", "b,c"]);
        assert_eq!(each_two(&["a", "b", "c"], |_, two| two == "c"), ["a,c", "b,c"]);
        assert_eq!(each_two(&["a"], |_, _| true), [""; 0]);
    }

    #[test]
    fn a_feature_has_a_say_in_what_it_adds_and_turns_on() {
        let features = [("a", vec!["dep:x", "y/f"]), ("b", vec!["a", "z?/f"]), ("c", vec![])];
        let features =
            features.map(|(name, values)| (name.into(), values.into_iter().map(Into::into).collect()));
        let features = BTreeMap::from(features);
        assert_eq!(crates(&features, "a"), BTreeSet::from(["x", "y"]));
        assert_eq!(crates(&features, "b"), BTreeSet::from(["x", "y", "z"]));
        assert!(crates(&features, "c").is_empty());
    }
}
