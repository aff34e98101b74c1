//! The Python of the suite `interop`: the library that this one descends from, and a client of Redis.

use std::path::PathBuf;

use cargo_metadata::Metadata;

use crate::test::python;

/// The suite that needs it.
pub(crate) const SUITE: &str = "interop";

/// Tells the tests where the Python is that has the packages.
pub(crate) const VARIABLE: &str = "FORGE_INTEROP_PYTHON";

/// The Python of a virtual environment with the packages.
///
/// # Errors
///
/// When it cannot be had.
pub(crate) fn python(workspace: &Metadata) -> Result<PathBuf, String> {
    let folder = workspace.target_directory.join("interop");
    let requirements = workspace.workspace_root.join("tests/interop/requirements.txt");
    python::environment(folder.as_std_path(), requirements.as_std_path(), SUITE)
}
