use std::fmt::Write as _;

use super::quoted;
use crate::multipart::Part;

/// A multipart form as options of `curl`, which makes a boundary of its own; `values` is how the value of each
/// part is shown. `None` if `curl` has no option that sends such a part.
///
/// A file is named, not written out: the command reads it from where it is run.
pub(super) fn options(parts: &[Part<'_>], values: &[Option<String>]) -> Option<String> {
    let mut options = String::new();
    for (part, value) in parts.iter().zip(values) {
        let name = part.name().filter(|name| is_plain(name))?;
        let option = match (part.file_name(), part.content_type(), value) {
            (Some(file), content_type, _) => {
                let content_type = of_type(content_type)?;
                format!("-F {}", quoted(&format!("{name}=@{}{content_type}", in_quotes(&file)?)))
            }
            (None, None, Some(value)) => format!("--form-string {}", quoted(&format!("{name}={value}"))),
            (None, content_type, Some(value)) => {
                let content_type = of_type(content_type)?;
                format!("-F {}", quoted(&format!("{name}={}{content_type}", in_quotes(value)?)))
            }
            (None, _, None) => return None,
        };
        let separator = if options.is_empty() { "" } else { " " };
        let _ = write!(options, "{separator}{option}");
    }
    Some(options)
}

/// Of others it depends on the version of `curl` where the name ends.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'[' | b']' | b'%')
        })
}

fn of_type(content_type: Option<&str>) -> Option<String> {
    let Some(content_type) = content_type else { return Some(String::new()) };
    let is_plain =
        content_type.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';'));
    is_plain.then(|| format!(";type={content_type}"))
}

/// As `curl` reads what may contain a `;`.
fn in_quotes(text: &str) -> Option<String> {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    (!text.contains('\0')).then(|| format!("\"{escaped}\""))
}
