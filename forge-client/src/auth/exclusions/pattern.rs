//! Turns patterns into the form that paths have when `url` sends them.

use std::iter::Peekable;
use std::str::Chars;

use url::Url;

use super::with_upper_escapes;

/// A glob pattern, encoded as `url` encodes a path: `/caf%C3%A9/*` for `/café/*`.
pub(super) struct SentPattern {
    pub(super) glob: String,
    /// The text with which every path begins that the pattern matches.
    pub(super) prefix: String,
    /// Whether the pattern consists of the prefix alone.
    pub(super) is_literal: bool,
    /// Whether the pattern can match a path that a client sends, and has no query, which no exclusion sees.
    pub(super) can_match: bool,
}

impl SentPattern {
    pub(super) fn of(pattern: &str) -> Self {
        let sent = Self { glob: String::new(), prefix: String::new(), is_literal: true, can_match: true };
        let mut reader = Reader { sent, rest: pattern.chars().peekable() };
        while reader.step() {}
        let mut sent = reader.sent;
        sent.can_match &= !has_dot_segment(pattern) && !has_query(pattern);
        sent
    }
}

struct Reader<'p> {
    sent: SentPattern,
    rest: Peekable<Chars<'p>>,
}

impl Reader<'_> {
    /// Reads one element. Returns `false` at the end of the pattern.
    fn step(&mut self) -> bool {
        let Some(c) = self.rest.next() else { return false };
        match c {
            '*' | '?' | '{' | '}' | ',' => self.wildcard(c),
            '[' => self.class(),
            '\\' => match self.rest.next() {
                Some(escaped) => self.literal(escaped),
                // `globset` rejects a pattern that ends with a backslash.
                None => self.sent.glob.push(c),
            },
            c => self.literal(c),
        }
        true
    }

    fn wildcard(&mut self, c: char) {
        // Outside of braces a comma is a character like any other.
        let is_comma_outside = c == ',' && !self.sent.glob.contains('{');
        if is_comma_outside {
            return self.literal(c);
        }
        self.sent.glob.push(c);
        self.sent.is_literal = false;
    }

    /// Copies a class without encoding its members: a class matches one character, and `%C3%A9` is six. So
    /// `[é]` matches nothing.
    fn class(&mut self) {
        self.sent.is_literal = false;
        self.sent.glob.push('[');
        let mut members = String::new();
        for c in self.rest.by_ref() {
            self.sent.glob.push(c);
            if c == ']' && !matches!(members.as_str(), "" | "!" | "^") {
                break;
            }
            members.push(c);
        }
        self.sent.can_match &= members.starts_with(['!', '^']) || has_sent_character(&members);
    }

    fn literal(&mut self, c: char) {
        let encoded = self.encoded(c);
        self.sent.can_match &= encoded.is_some();
        let encoded = encoded.unwrap_or_else(|| c.into());
        if self.sent.is_literal {
            self.sent.prefix.push_str(&encoded);
        }
        if encoded.starts_with(['*', '?', '[', ']', '{', '}', '\\', ',']) {
            self.sent.glob.push('\\');
        }
        self.sent.glob.push_str(&encoded);
    }

    /// The character as `url` sends it. For a `%` that begins an escape, also reads and returns its digits.
    /// `None` if no path contains the character.
    fn encoded(&mut self, c: char) -> Option<String> {
        if c != '%' {
            return encoded(c);
        }
        let digits: String = self.rest.clone().take(2).collect();
        let escape = format!("%{digits}");
        if !is_escape(&escape) {
            return Some(c.into());
        }
        self.rest.by_ref().take(2).for_each(drop);
        Some(with_upper_escapes(&escape).into_owned())
    }
}

/// A character as `url` sends it in a path; `None` if it ends the path, or begins a segment: `?`, `#`, `\`.
fn encoded(c: char) -> Option<String> {
    let url = Url::parse(&format!("http://host/a{c}z")).ok()?;
    let sent = url.path().strip_prefix("/a")?.strip_suffix('z')?;
    (!sent.is_empty() && (sent != "/" || c == '/')).then(|| sent.to_owned())
}

fn is_escape(text: &str) -> bool {
    text.len() == 3 && text[1..].bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Whether a path may contain one of the members of a class, which may be ranges.
fn has_sent_character(members: &str) -> bool {
    let members: Vec<char> = members.chars().collect();
    let is_sent = |c: char| encoded(c).is_some_and(|sent| sent == String::from(c));
    let mut at = 0;
    while let Some(first) = members.get(at) {
        let last = match members.get(at + 1..at + 3) {
            Some(['-', last]) => last,
            _ => first,
        };
        // `url` encodes every character after `~`.
        if (*first..='~'.min(*last)).any(is_sent) {
            return true;
        }
        at += if last == first { 1 } else { 3 };
    }
    false
}

/// Whether the pattern has a dot segment: `url` removes those from every path.
fn has_dot_segment(pattern: &str) -> bool {
    pattern.split('/').any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    })
}

/// Whether a `?` most likely begins a query, as in `?name=`. Exclusions do not see queries.
fn has_query(pattern: &str) -> bool {
    pattern.match_indices('?').any(|(at, _)| {
        let name = pattern[at + 1..].split('=').next().unwrap_or_default();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        !name.is_empty() && pattern[at + 1 + name.len()..].starts_with('=') && name.chars().all(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_other_than_wildcards_are_encoded_as_in_a_path() {
        for (pattern, glob, prefix, is_literal) in [
            ("/public/*", "/public/*", "/public/", false),
            ("/café/*", "/caf%C3%A9/*", "/caf%C3%A9/", false),
            ("/caf%c3%a9/*", "/caf%C3%A9/*", "/caf%C3%A9/", false),
            ("/a b/\"<>`?", "/a%20b/%22%3C%3E%60?", "/a%20b/%22%3C%3E%60", false),
            ("/100%/%zz%4", "/100%/%zz%4", "/100%/%zz%4", true),
            (r"/a\*b\[\{\é/x", r"/a\*b\[%7B%C3%A9/x", "/a*b[%7B%C3%A9/x", true),
            ("/{café,tea}/x", "/{caf%C3%A9,tea}/x", "/", false),
            ("/a,b", r"/a\,b", "/a,b", true),
            ("/[a%c3]*", "/[a%c3]*", "/", false),
            ("*/health", "*/health", "", false),
        ] {
            let sent = SentPattern::of(pattern);
            let read = (sent.glob.as_str(), sent.prefix.as_str(), sent.is_literal);
            assert_eq!(read, (glob, prefix, is_literal), "{pattern}");
            assert!(sent.can_match, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_with_characters_that_no_path_contains_cannot_match() {
        for pattern in [
            "/search?x=*",
            "/search?page-no=*",
            "/a#b",
            r"/a\?b",
            r"/a\\b",
            "/[é]",
            "/[é-ü]x",
            "/[ \"]",
            "/../a",
            "/a/./b",
            "/a/%2E%2e",
            "/a/..",
            "/a\nb",
        ] {
            assert!(!SentPattern::of(pattern).can_match, "{pattern}");
        }
        for pattern in
            ["/[!é]", "/[^é]", "/[éa]", "/[ -~]", "/[é-]", "/[]]", "/v?x/y=*", "/?=", "/...", "/..a", "/a?*="]
        {
            assert!(SentPattern::of(pattern).can_match, "{pattern}");
        }
    }
}
