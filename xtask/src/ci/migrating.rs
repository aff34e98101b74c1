//! The code in `MIGRATING.md`.

use cargo_metadata::Metadata;

use crate::ci::check::Check;
use crate::command::cargo;

/// Compiles the page in a crate outside the workspace, which depends on the crates that the page replaces.
pub(crate) fn check(workspace: &Metadata) -> Check<'static> {
    let mut command = cargo(&workspace.workspace_root);
    command.args(["test", "--doc", "--locked", "--manifest-path", "tests/migrating/Cargo.toml"]);
    command.arg("--target-dir").arg(workspace.target_directory.join("migrating"));
    Check::command("MIGRATING.md", command)
}
