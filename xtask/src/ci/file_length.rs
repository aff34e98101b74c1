//! No source file is longer than a reader wants to read.

use cargo_metadata::Metadata;

use crate::ci::files;

const MAX_LINES: usize = 500;

/// Fails when a source file has more than [`MAX_LINES`] lines.
///
/// # Errors
///
/// With the name and the length of each such file, or when a file cannot be read.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let root = workspace.workspace_root.as_std_path();
    let mut long = Vec::new();
    for path in files::list(root, "*.rs")? {
        long.extend(offence(&path, &files::read(root, &path)?));
    }
    if long.is_empty() { Ok(()) } else { Err(format!("files that are too long:\n{}", long.join("\n"))) }
}

fn offence(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{path} has {lines} lines, {MAX_LINES} are the most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_501_lines_is_named() {
        assert_eq!(offence("a.rs", &"\n".repeat(500)), None);
        let expected = "a.rs has 501 lines, 500 are the most";
        assert_eq!(offence("a.rs", &"\n".repeat(501)).as_deref(), Some(expected));
    }
}
