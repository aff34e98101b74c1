//! `cargo xtask ci`: the checks of the repository itself, besides its tests.

mod arrows;
mod below_one;
mod check;
mod features;
mod first_command;
mod migrating;
mod naming;
mod packaging;
mod redis;
mod rust_version;

use std::process::ExitCode;

use crate::command::cargo;
use crate::workspace;
use check::Check;

/// Check the repository: formatting, lints, documentation, features and the arrows between the crates.
///
/// Every check runs, also when an earlier one failed; a table at the end and the last line say how it
/// went. The tests are not part of it: `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs all checks.
///
/// # Errors
///
/// When the workspace cannot be read at all; a failed check is an exit code.
pub(crate) fn run(_: &Args) -> Result<ExitCode, String> {
    let workspace = workspace::load()?;
    let facade = workspace::member(&workspace, workspace::FACADE)?;
    let root = &workspace.workspace_root;

    // What takes no time comes first.
    let mut fmt = cargo(root);
    fmt.args(["fmt", "--all", "--check"]);
    // Apart from the workspace.
    let mut fmt_of_peers = cargo(root);
    fmt_of_peers.args(["fmt", "--manifest-path", "benches/peers/Cargo.toml", "--check"]);
    let mut checks = vec![
        Check::command("fmt", fmt),
        Check::command("fmt of the bench's peers", fmt_of_peers),
        Check::new("arrows", || arrows::check(&workspace)),
        Check::new("dependencies below 1.0", || below_one::check(&workspace)),
        Check::new("naming", || naming::check(&workspace)),
        Check::new("packaging", || packaging::check(&workspace)),
        Check::new("rust-version", || rust_version::check(&workspace)),
        Check::new("redis only when asked for", || redis::check(&workspace, facade)),
        Check::new("the first command", || first_command::check(&workspace)),
    ];
    checks.extend(features::clippy(&workspace, facade));
    checks.extend(features::pairs(&workspace, facade));
    checks.extend(features::redis_tls_alone(&workspace));
    checks.push(features::rustdoc(&workspace));
    checks.push(migrating::check(&workspace));
    Ok(check::run_all(checks))
}
