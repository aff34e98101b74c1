use std::borrow::Cow;

/// A part of a multipart body.
pub(crate) struct Part<'a> {
    head: Cow<'a, str>,
    pub(crate) value: &'a [u8],
}

/// The parts of a multipart body (RFC 2046 5.1, RFC 7578); `None` if the body is not multipart.
pub(crate) fn multipart_parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    let mut rest = match body.strip_prefix(&delimiter[2..]) {
        Some(rest) => rest,
        None => split_once(body, &delimiter)?.1,
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let (part, after) = split_once(rest, &delimiter)?;
        // White space may follow a delimiter.
        let (_, part) = split_once(part, b"\r\n")?;
        // A part without headers begins with the empty line.
        let (head, value) = match part.strip_prefix(b"\r\n") {
            Some(value) => (&b""[..], value),
            None => split_once(part, b"\r\n\r\n")?,
        };
        parts.push(Part { head: String::from_utf8_lossy(head), value });
        rest = after;
    }
    Some(parts)
}

/// The value of a parameter of a header (RFC 9110 5.6.6), such as `boundary` or `name`.
pub(crate) fn parameter(header: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = if let Some(quoted) = after.trim_start().strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let (value, after) = after.split_once(';').unwrap_or((after, ""));
            (value.trim().to_owned(), after)
        };
        if name.trim_start_matches([';', ' ', '\t']).trim_end().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// The unescaped text before the closing quote, and the rest after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(characters.next()?.1),
            (_, c) => value.push(c),
        }
    }
}

impl Part<'_> {
    pub(crate) fn name(&self) -> Option<String> {
        parameter(self.header("content-disposition")?, "name")
    }

    pub(crate) fn file_name(&self) -> Option<String> {
        parameter(self.header("content-disposition")?, "filename")
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.header("content-type")
    }

    /// Whether the part has headers besides its disposition and its type.
    pub(crate) fn has_other_headers(&self) -> bool {
        let name = |line: &str| line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut names = self.head.lines().map(name);
        names.any(|name| !matches!(name.as_str(), "content-disposition" | "content-type"))
    }

    /// The value, if it is text without a NUL, which no command line can hold.
    pub(crate) fn text(&self) -> Option<&str> {
        str::from_utf8(self.value).ok().filter(|text| !text.contains('\0'))
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    }
}

fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Vec<(Option<String>, &[u8])>> {
        let parts = multipart_parts(body.as_bytes(), "b")?;
        Some(parts.into_iter().map(|part| (part.name(), part.value)).collect())
    }

    #[test]
    fn parts_are_read_as_names_and_values() {
        let head = "Content-Disposition: form-data; filename=\"f;name=c\"; name=\"a\"\r\nX-Y: z";
        let named = |value: &'static str| Some(vec![(Some("a".to_owned()), value.as_bytes())]);
        assert_eq!(read(&format!("--b\r\n{head}\r\n\r\nx\r\n--b--\r\n")), named("x"));
        assert_eq!(read(&format!("before\r\n--b \r\n{head}\r\n\r\n\r\n--b--")), named(""));
        assert_eq!(read("--b\r\n\r\nx\r\n\r\ny\r\n--b--"), Some(vec![(None, &b"x\r\n\r\ny"[..])]));
        assert_eq!(read("--b--"), Some(vec![]));
        for cut in ["", "x", "--b", "--b\r\n", "--b\r\n\r\nx", "--b\r\nA: b\r\n--b--", "--c--"] {
            assert_eq!(read(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn parameters_are_read_quoted_or_not() {
        let header = r#"form-data; Name = "a;\"b\"; c=d" ;filename=e f; g=h"#;
        for (wanted, value) in
            [("name", Some("a;\"b\"; c=d")), ("FILENAME", Some("e f")), ("g", Some("h")), ("c", None)]
        {
            assert_eq!(parameter(header, wanted).as_deref(), value, "{wanted}");
        }
        for header in ["form-data", "form-data; ", "x; name", "x; name=\"open", "x; other=1; name"] {
            assert_eq!(parameter(header, "name"), None, "{header}");
        }
    }
}
