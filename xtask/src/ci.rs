//! `cargo xtask ci`: the checks of the repository itself, apart from its tests.

mod arrows;
mod below_one;
mod check;
mod circles;
mod features;
mod file_length;
mod files;
mod first_command;
mod lock_files;
mod migrating;
mod naming;
mod packaging;
mod redis;
mod root_names;
mod rust_version;
mod use_tree;
mod work_tree;

use std::process::ExitCode;

use crate::command::cargo;
use crate::workspace;
use check::Check;
use work_tree::WorkTree;

/// Check the repository: formatting, lints, documentation, features, names, and the arrows between crates and modules.
///
/// Every check runs, even after one has failed. A table and a last line show the results. `cargo xtask test` runs the
/// tests; this command does not.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this check only; may be given several times
    #[arg(long = "check", value_name = "NAME")]
    checks: Vec<String>,
}

/// Runs all checks.
///
/// # Errors
///
/// When the workspace cannot be read. A failed check only changes the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    let workspace = workspace::load()?;
    let facade = workspace::member(&workspace, workspace::FACADE)?;
    let root = &workspace.workspace_root;
    let before = WorkTree::read(root.as_std_path())?;

    // The fast checks come first.
    let mut fmt = cargo(root);
    fmt.args(["fmt", "--all", "--check"]);
    // The peers are no members of the workspace.
    let mut fmt_of_peers = cargo(root);
    fmt_of_peers.args(["fmt", "--manifest-path", "benches/peers/Cargo.toml", "--check"]);
    let mut checks = vec![
        Check::command("fmt", fmt),
        Check::command("fmt of the bench's peers", fmt_of_peers),
        Check::new("lock files", || lock_files::check(root.as_std_path())),
        Check::new("arrows", || arrows::check(&workspace)),
        Check::new("dependencies below 1.0", || below_one::check(&workspace)),
        Check::new("naming", || naming::check(&workspace)),
        Check::new("length of files", || file_length::check(&workspace)),
        Check::new("circles of modules", || circles::check(&workspace)),
        Check::new("names at the root", || root_names::check(&workspace)),
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
    // The last: an earlier check may have changed a file.
    checks.push(Check::new("unchanged work tree", || WorkTree::read(root.as_std_path())?.compare(&before)));
    Ok(check::run_all(check::select(checks, &args.checks)?))
}
