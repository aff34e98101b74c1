//! Each lock file fits its manifests, so that no command has to rewrite it.

use std::path::Path;

use crate::command::{capture, cargo};

/// The manifests of this workspace and of the separate workspaces beside it.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "benches/peers/Cargo.toml", "tests/migrating/Cargo.toml"];

/// Fails when a lock file does not fit its manifests.
///
/// # Errors
///
/// With the command that brings each such lock file up to date, and what cargo says.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let offenders: Vec<String> = MANIFESTS.iter().filter_map(|manifest| offence(root, manifest)).collect();
    if offenders.is_empty() { Ok(()) } else { Err(offenders.join("\n")) }
}

fn offence(root: &Path, manifest: &str) -> Option<String> {
    let mut metadata = cargo(root);
    metadata.args(["metadata", "--locked", "--format-version", "1", "--manifest-path", manifest]);
    let why = capture(&mut metadata).err()?;
    Some(format!("the lock file of {manifest}: `cargo update --workspace --manifest-path {manifest}`\n{why}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_file_that_lacks_a_package_is_refused() {
        let folder = std::env::temp_dir().join(format!("requestforge-lock-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let package = |name: &str, more: &str| {
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
        };
        write("Cargo.toml", &package("one", "[workspace]\n"));
        write("src/lib.rs", "");
        write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"one\"\nversion = \"0.1.0\"\n");
        let fitting = offence(&folder, "Cargo.toml");
        write("Cargo.toml", &package("one", "[workspace]\n[dependencies]\ntwo = { path = \"two\" }\n"));
        write("two/Cargo.toml", &package("two", ""));
        write("two/src/lib.rs", "");
        let stale = offence(&folder, "Cargo.toml");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(fitting, None);
        assert!(stale.is_some_and(|why| why.contains("`cargo update --workspace")));
    }
}
