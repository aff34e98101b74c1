use std::fmt::Write as _;

use super::quoted;
use crate::body::Part;

/// A multipart form as options of `curl`, which chooses the boundary itself. `values` are the texts to show for
/// the values of the parts. `None` if `curl` has no option that sends one of the parts.
///
/// Of a file the options contain only the name: `curl` reads it from the directory in which it runs.
pub(super) fn options(parts: &[Part<'_>], values: &[Option<String>]) -> Option<String> {
    let mut options = String::new();
    for (part, value) in parts.iter().zip(values) {
        if part.has_other_headers() {
            return None;
        }
        let name = part.name().filter(|name| is_plain(name))?;
        let option = match (part.file_name(), part.content_type(), value) {
            (Some(file), content_type, _) => {
                if has_path(&file) {
                    return None;
                }
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

/// Whether `curl` would look for this file in another place than the directory in which it runs. It reads `-` from
/// standard input.
fn has_path(file_name: &str) -> bool {
    file_name.contains(['/', '\\', ':']) || matches!(file_name, "" | "." | ".." | "-")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::multipart_parts;

    fn shown(head: &str) -> Option<String> {
        let body = format!("--b\r\n{head}\r\n\r\nx\r\n--b--\r\n");
        let parts = multipart_parts(body.as_bytes(), "b").unwrap();
        options(&parts, &[Some("x".to_owned())])
    }

    #[test]
    fn a_part_with_headers_of_its_own_has_no_option() {
        let disposition = "Content-Disposition: form-data; name=\"a\"";
        assert_eq!(shown(disposition).as_deref(), Some("--form-string 'a=x'"));
        let typed = shown(&format!("{disposition}\r\nContent-Type: text/csv"));
        assert_eq!(typed.as_deref(), Some("-F 'a=\"x\";type=text/csv'"));
        assert_eq!(shown(&format!("{disposition}\r\nX-Part: 1")), None);
        assert_eq!(shown(&format!("X-Part: 1\r\n{disposition}\r\nContent-Type: text/csv")), None);
    }

    /// Attack: an uploader chooses the name of a file. A command line that a person pastes must not read another
    /// file than one in the directory in which it runs.
    #[test]
    fn a_file_name_with_a_path_has_no_option() {
        let file =
            |name: &str| shown(&format!("Content-Disposition: form-data; name=\"a\"; filename=\"{name}\""));
        assert_eq!(file("b.txt").as_deref(), Some("-F 'a=@\"b.txt\"'"));
        for name in ["/etc/passwd", "../b.txt", "c:\\\\b.txt", "..", ".", "-", ""] {
            assert_eq!(file(name), None, "{name}");
        }
    }
}
