//! The files of the repository.

use std::path::Path;
use std::process::Command;

use crate::command;

/// The files that git knows or would add, which match a pattern of git's, as paths below `root`.
///
/// # Errors
///
/// When git does not list them.
pub(crate) fn list(root: &Path, pattern: &str) -> Result<Vec<String>, String> {
    let mut listing = Command::new("git");
    listing
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", pattern])
        .current_dir(root);
    let listed = command::capture(&mut listing)?;
    // Git also lists a file that was deleted and whose deletion is not committed yet.
    let paths = listed.split('\0').filter(|path| !path.is_empty() && root.join(path).exists());
    Ok(paths.map(str::to_owned).collect())
}

/// The text of a file below `root`.
///
/// # Errors
///
/// When the file cannot be read.
pub(crate) fn read(root: &Path, path: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(path)).map_err(|error| format!("cannot read {path}: {error}"))
}
