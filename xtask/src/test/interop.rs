//! The Python of the suite `interop`: a virtual environment with the Python library and its Redis client.

use std::path::PathBuf;

use cargo_metadata::Metadata;

use crate::test::python;

/// The suite that needs this Python.
pub(crate) const SUITE: &str = "interop";

/// The environment variable that tells the tests the path of this Python.
pub(crate) const VARIABLE: &str = "FORGE_INTEROP_PYTHON";

/// The Python of a virtual environment with the packages.
///
/// # Errors
///
/// When the virtual environment cannot be created.
pub(crate) fn python(workspace: &Metadata) -> Result<PathBuf, String> {
    let folder = workspace.target_directory.join("interop");
    let requirements = workspace.workspace_root.join("tests/interop/requirements.txt");
    python::environment(folder.as_std_path(), requirements.as_std_path(), SUITE)
}
