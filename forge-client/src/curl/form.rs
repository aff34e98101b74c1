use std::fmt::Write as _;

use super::quoted;
use crate::multipart::Part;

/// A multipart form as options of `curl`, which chooses the boundary itself. `values` are the texts to show for
/// the values of the parts. `None` if `curl` has no option that sends one of the parts.
///
/// Of a file the options contain only the name: `curl` reads it from the directory in which it runs.
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

/// Whether every version of `curl` reads this name in the same way. With other characters the versions differ
/// about where the name ends.
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

/// The text in the quotes that `curl` needs around a text that may contain a `;`. `None` for a text with a NUL,
/// which no command line can hold.
fn in_quotes(text: &str) -> Option<String> {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    (!text.contains('\0')).then(|| format!("\"{escaped}\""))
}
