//! Decides which paths and names an error may show. By mistake a user may pass the secret itself as a path or a name.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path};

/// A path as errors and `Debug` show it: in full if it looks like a path, else not at all.
pub(super) struct ShownPath<'a>(pub(super) &'a Path);

impl fmt::Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if looks_like_path(self.0) {
            write!(f, "{}", self.0.display())
        } else {
            f.write_str("(not shown, as it may be a secret: begin a path with `/` or `./`)")
        }
    }
}

/// The name of an environment variable as errors and `Debug` show it: in full if it is `UPPER_CASE`, else not at
/// all.
pub(super) struct ShownName<'a>(pub(super) &'a str);

impl fmt::Display for ShownName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if looks_like_variable(self.0) {
            f.write_str(self.0)
        } else {
            f.write_str("(not shown, as it may be a secret: names are UPPER_CASE)")
        }
    }
}

/// Whether a text begins like a path, and no part of it looks like a secret. A secret in base64 may begin with a
/// slash, but then it has other marks of base64: `+` and `=`, or letters of both cases mixed with digits.
fn looks_like_path(path: &Path) -> bool {
    let is_begun =
        path.has_root() || matches!(path.components().next(), Some(Component::CurDir | Component::ParentDir));
    is_begun && path.components().all(|part| !matches!(part, Component::Normal(name) if may_be_secret(name)))
}

fn may_be_secret(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return true };
    let has = |is: fn(&char) -> bool| name.chars().any(|c| is(&c));
    let is_mixed =
        has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    let is_long = name.len() > MAX_MIXED_LEN && !name.contains(['.', '-', '_', ' ']);
    has(|c| matches!(c, '+' | '=') || !crate::is_printable(*c)) || is_mixed && is_long
}

/// Whether a text looks like the name of a variable. A key in base32, or its identifier, is in upper case as well, but it
/// mixes digits and letters, and is long.
fn looks_like_variable(name: &str) -> bool {
    let has_digit = name.bytes().any(|byte| byte.is_ascii_digit());
    name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !(has_digit && name.len() > MAX_MIXED_LEN && !name.contains('_'))
}

/// The maximum length of a name that mixes cases and digits and still counts as a name. Directories that a program names,
/// such as `tmpA1b2C3`, are shorter; keys are longer.
const MAX_MIXED_LEN: usize = 15;
