//! The checks leave the work tree as they find it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::ci::files;

/// The files of the work tree with a hash of their contents.
#[derive(Debug)]
pub(crate) struct WorkTree(BTreeMap<String, u64>);

impl WorkTree {
    /// Reads all files of the work tree, except for those that git ignores.
    ///
    /// # Errors
    ///
    /// When git does not list the files, or one cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let hashed = |path: String| {
            let content =
                content(&root.join(&path)).map_err(|error| format!("cannot read {path}: {error}"))?;
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            Ok((path, hasher.finish()))
        };
        files::list(root, ".")?.into_iter().map(hashed).collect::<Result<_, _>>().map(Self)
    }

    /// Fails when a file has changed, appeared or gone since `before`.
    ///
    /// # Errors
    ///
    /// With the name of each such file.
    pub(crate) fn compare(&self, before: &Self) -> Result<(), String> {
        let changed = |(path, hash): (&String, &u64)| match before.0.get(path) {
            None => Some(format!("{path} is new")),
            Some(old) => (old != hash).then(|| format!("{path} has changed")),
        };
        let gone = before.0.keys().filter(|path| !self.0.contains_key(*path));
        let mut offenders: Vec<String> = self.0.iter().filter_map(changed).collect();
        offenders.extend(gone.map(|path| format!("{path} is gone")));
        if offenders.is_empty() {
            return Ok(());
        }
        Err(format!("the work tree has changed since the checks began:\n{}", offenders.join("\n")))
    }
}

/// The content of a file; of a link, its target.
fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.is_symlink() {
        return Ok(std::fs::read_link(path)?.into_os_string().into_encoded_bytes());
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, u64)]) -> WorkTree {
        WorkTree(files.iter().map(|(path, hash)| ((*path).to_owned(), *hash)).collect())
    }

    #[test]
    fn a_change_a_new_file_and_a_lost_one_are_named() {
        let before = tree(&[("Cargo.lock", 1), ("a.rs", 2), ("b.rs", 3)]);
        assert_eq!(before.compare(&before), Ok(()));
        let after = tree(&[("Cargo.lock", 9), ("a.rs", 2), ("c.rs", 3)]);
        let expected = "the work tree has changed since the checks began:\n\
                        Cargo.lock has changed\nc.rs is new\nb.rs is gone";
        assert_eq!(after.compare(&before), Err(expected.into()));
    }
}
