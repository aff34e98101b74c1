use url::Url;

use crate::origin::without_query;

/// The text, in which absolute and relative references lose user-info, query and fragment.
pub(super) fn without_queries(text: &str) -> String {
    if let Ok(mut url) = Url::parse(text)
        && url.has_host()
    {
        // Cannot fail for a URL with a host.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        return without_query(&url).to_owned();
    }
    text.split_inclusive(ends_reference)
        .map(|piece| match piece.strip_suffix(ends_reference) {
            Some(part) => without_secrets(part) + &piece[part.len()..],
            None => without_secrets(piece),
        })
        .collect()
}

/// Whether a character ends a reference, because no URL contains it (RFC 3986 appendix C).
fn ends_reference(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '<' | '>')
}

fn without_secrets(part: &str) -> String {
    let end = part.find(['?', '#']).filter(|at| {
        let (before, after) = part.split_at(*at);
        before.contains(['/', '\\']) || after.contains('=')
    });
    let part = &part[..end.unwrap_or(part.len())];
    let Some(start) = part.find("//").map(|slashes| slashes + 2) else { return part.to_owned() };
    let (before, rest) = part.split_at(start);
    let authority = rest.split(['/', '\\']).next().unwrap_or_default();
    // A password with a slash in it is no part of the authority, but meant to be.
    let is_complete = authority.contains('@') || !authority.contains(':');
    let user_info = if is_complete { authority.rfind('@') } else { rest.rfind('@') };
    user_info.map_or_else(|| part.to_owned(), |at| format!("{before}{}", &rest[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv16_references_lose_what_may_be_secret() {
        for (text, shown) in [
            ("https://u:p@b.example/x?sig=p#p", "https://b.example/x"),
            ("/a?access_token=p", "/a"),
            ("a.php?access_token=p", "a.php"),
            ("?access_token=p", ""),
            ("/callback#access_token=p", "/callback"),
            ("//u:p@b.example/x?p", "//b.example/x"),
            (
                "go to https://u:p@b.example/x?p, or \"/b?p=p\" <c?p=p>",
                "go to https://b.example/x or \"/b\" <c>",
            ),
            ("url=https://u:p@b.example/x?p=p&a=https://u:p@b.example/", "url=https://b.example/x"),
            ("postgres://u:p/@p@b.example/x", "postgres://b.example/x"),
            ("see //b.example/@ada", "see //b.example/@ada"),
            ("first\n/a?p=p\tlast", "first\n/a\tlast"),
            ("What? No! And C#, é?", "What? No! And C#, é?"),
            ("text/html;q=0.9, */*", "text/html;q=0.9, */*"),
            ("Ada@b.example", "Ada@b.example"),
            ("", ""),
        ] {
            assert_eq!(without_queries(text), shown, "{text}");
        }
    }
}
