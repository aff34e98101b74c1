//! Clippy and rustdoc on the feature sets that matter.

use std::env;
use std::process::Command;

use cargo_metadata::{Metadata, Package};

use crate::ci::check::{Check, Outcome};
use crate::command::{capture, cargo, run};
use crate::workspace::{self, FACADE};

/// Clippy on the workspace, on each feature of the facade alone, and on each member alone.
///
/// The sets with few features look at the library only: tests and examples bring development
/// dependencies, which would switch on features that the library then has for nothing.
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
        checks.push(if feature == "native-tls" {
            Check::new(name, move || with_openssl(&mut command))
        } else {
            Check::command(name, command)
        });
    }

    // Together, members lend each other features of their common dependencies; alone they cannot.
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

/// What TLS to Redis does in a program that has only the crypto library that our feature brings, or none.
///
/// The suite `redis_tls` does the same where there are two; there the members lend each other the second one.
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

fn with_openssl(command: &mut Command) -> Outcome {
    // On these two the system brings a TLS stack of its own.
    let needs_openssl = !cfg!(any(target_os = "macos", windows));
    let by_hand = env::var_os("OPENSSL_DIR").is_some();
    let by_pkg_config = || capture(Command::new("pkg-config").args(["--exists", "openssl"])).is_ok();
    if needs_openssl && !by_hand && !by_pkg_config() {
        let why = "pkg-config finds no OpenSSL development files on this machine";
        return Outcome::NotChecked(why.into());
    }
    run(command).into()
}
