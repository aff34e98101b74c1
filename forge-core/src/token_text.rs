/// Whether this text can be a token: printable ASCII (RFC 6749 A.12), and not only spaces. Attack: any other text could
/// split a header, or would make a header without a credential.
#[must_use]
pub fn is_token_text(text: &str) -> bool {
    is_printable_ascii(text) && text.bytes().any(|byte| byte != b' ')
}

/// The value of a header that carries a token: prefix, space, token. A blank prefix adds nothing, so that no
/// value begins with a space.
#[must_use]
pub fn with_prefix(prefix: &str, token: &str) -> String {
    match prefix.trim_matches(' ') {
        "" => token.to_owned(),
        prefix => format!("{prefix} {token}"),
    }
}

/// Whether this text contains only printable ASCII, and so cannot split a header.
pub(crate) fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printable_ascii_and_more_than_spaces() {
        for text in ["a", "~", "a b", " a", "quotes \" and \\"] {
            assert!(is_token_text(text), "{text:?}");
        }
        for text in ["", " ", "  ", "a\n", "a\tb", "\u{7f}", "a\u{0}", "\u{e9}", "\u{feff}a", "\u{1F980}"] {
            assert!(!is_token_text(text), "{text:?}");
        }
    }
}
