//! Reads lists of challenges and credentials of HTTP authentication (RFC 9110 11).

use std::borrow::Cow;

/// One challenge of a `WWW-Authenticate` header, or the credentials of an `Authorization` header
/// (RFC 9110 11.6).
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge<'t> {
    /// The scheme, as the header spells it. Case makes no difference (RFC 9110 11.1).
    pub scheme: &'t str,
    /// The parameters in their order, with unescaped values.
    pub parameters: Vec<(&'t str, Cow<'t, str>)>,
}

/// The challenges in the value of one header. The reader skips the `token68` of a challenge, and everything that
/// does not follow the grammar. So a missing comma or a stray character hides no other challenge. A parameter
/// without a scheme before it, and a quoted string without an end, belong to no challenge.
#[must_use]
pub fn challenges(value: &str) -> Vec<Challenge<'_>> {
    let mut challenges: Vec<Challenge<'_>> = Vec::new();
    for element in (Reader { rest: value }) {
        match (element, challenges.last_mut()) {
            (Element::Scheme(scheme), _) => challenges.push(Challenge { scheme, parameters: Vec::new() }),
            (Element::Parameter(name, value), Some(challenge)) => challenge.parameters.push((name, value)),
            (Element::Parameter(..), None) => {}
        }
    }
    challenges
}

enum Element<'t> {
    Scheme(&'t str),
    Parameter(&'t str, Cow<'t, str>),
}

/// Takes one element after the other from the front of a text.
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Iterator for Reader<'t> {
    type Item = Element<'t>;

    fn next(&mut self) -> Option<Element<'t>> {
        loop {
            self.take_while(is_separator);
            let name = self.take_while(is_token_character);
            if !name.is_empty() {
                if let Some(element) = self.element(name) {
                    return Some(element);
                }
            } else if self.take('"') {
                self.quoted();
            } else {
                let mut rest = self.rest.chars();
                rest.next()?;
                self.rest = rest.as_str();
            }
        }
    }
}

impl<'t> Reader<'t> {
    /// The element that begins with this token; `None` if its quoted value has no end.
    fn element(&mut self, name: &'t str) -> Option<Element<'t>> {
        let is_apart = !self.take_while(is_space).is_empty();
        if !self.take('=') {
            // Attack: in `a/a/a/…(` each `a` would start a scan to the end of the header. A token68 follows a space,
            // and such a scan ends before the next space.
            if is_apart {
                self.skip_token68();
            }
            return Some(Element::Scheme(name));
        }
        self.take_while(is_space);
        let value = if self.take('"') { self.quoted()? } else { self.take_while(is_unquoted).into() };
        Some(Element::Parameter(name, value))
    }

    /// Skips the `token68` after a scheme and a space. A comma or the end of the header follows a `token68`; anything
    /// else there is the first parameter, which this leaves.
    fn skip_token68(&mut self) {
        let rest = self.rest.trim_start_matches(is_token68_character).trim_start_matches('=');
        let behind = rest.trim_start_matches(is_space);
        if behind.is_empty() || behind.starts_with(',') {
            self.rest = rest;
        }
    }

    /// The unescaped text before the closing quote (RFC 9110 5.6.4); `None` if there is no such quote.
    fn quoted(&mut self) -> Option<Cow<'t, str>> {
        let mut value = Cow::Borrowed("");
        loop {
            let plain = self.take_while(|c| !matches!(c, '"' | '\\'));
            if value.is_empty() {
                value = Cow::Borrowed(plain);
            } else {
                value.to_mut().push_str(plain);
            }
            if self.take('"') {
                return Some(value);
            }
            let mut rest = self.rest.chars();
            rest.next()?;
            value.to_mut().push(rest.next()?);
            self.rest = rest.as_str();
        }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn take(&mut self, expected: char) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_separator(c: char) -> bool {
    is_space(c) || c == ','
}

/// `tchar` of RFC 9110 5.6.2.
fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// The characters of a `token68` before its padding (RFC 9110 11.2).
fn is_token68_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/".contains(c)
}

/// Allows more than the grammar: many servers send values with a slash or an equals sign without quotes.
fn is_unquoted(c: char) -> bool {
    !is_separator(c) && c != '"'
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Vec<(String, Vec<(String, String)>)> {
        let owned = |(name, value): &(&str, Cow<'_, str>)| ((*name).to_owned(), value.to_string());
        let read = challenges(value);
        read.iter().map(|c| (c.scheme.to_owned(), c.parameters.iter().map(owned).collect())).collect()
    }

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        for (value, expected) in [
            ("", &[][..]),
            (" , ,\t", &[]),
            ("Bearer", &[("Bearer", &[][..])]),
            (
                "Basic realm=\"simple\", Newauth realm=\"apps\", type=1,\n title=\"Login to \\\"apps\\\"\"",
                &[
                    ("Basic", &[("realm", "simple")]),
                    ("Newauth", &[("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")]),
                ],
            ),
            ("Negotiate YWJj/ZA==, Bearer a=b", &[("Negotiate", &[]), ("Bearer", &[("a", "b")])]),
            ("Negotiate YWJjZA ,Bearer a=b", &[("Negotiate", &[]), ("Bearer", &[("a", "b")])]),
            ("Bearer a=, DPoP", &[("Bearer", &[]), ("DPoP", &[])]),
            ("a=b, Bearer c=d", &[("Bearer", &[("c", "d")])]),
            ("Bearer a=\"b, c=d\",e=f/g=", &[("Bearer", &[("a", "b, c=d"), ("e", "f/g=")])]),
            ("Bearer a=\"\",b=\"\\\\\",c=\"é\"", &[("Bearer", &[("a", ""), ("b", "\\"), ("c", "é")])]),
            // Headers without the commas of the grammar, and with characters that it does not allow.
            (
                "Basic a=\"b\" c=d DPoP e=f; g=h",
                &[("Basic", &[("a", "b"), ("c", "d")]), ("DPoP", &[("e", "f;"), ("g", "h")])],
            ),
            ("=,\"x, y=z\" (Bearer) a=b", &[("Bearer", &[("a", "b")])]),
            ("Bearer a=b, c=\"d, e=f", &[("Bearer", &[("a", "b")])]),
            ("Bearer a=b, c=\"d\\", &[("Bearer", &[("a", "b")])]),
        ] {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let expected: Vec<_> = expected
                .iter()
                .map(|(scheme, parameters): &(&str, &[(&str, &str)])| {
                    ((*scheme).to_owned(), parameters.iter().map(owned).collect::<Vec<_>>())
                })
                .collect();
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn inv34_a_hostile_header_is_read_in_linear_time() {
        for piece in
            ["a/", "a /", "a b/", "a  ", "a b   ", "a=", "a==", "a=\"\\", "a=\"b\"", "\"", "\\", ",", "é"]
        {
            // hyper reads headers of four times this length. In quadratic time this takes half a minute.
            let value = format!("a {}(", piece.repeat(100_000 / piece.len()));
            let begun = Instant::now();
            assert!(!challenges(&value).is_empty());
            assert!(begun.elapsed() < Duration::from_secs(5), "{piece:?}");
        }
    }

    /// A parameter's value, and its form in the header.
    fn value() -> impl Strategy<Value = (String, String)> {
        let token = "[a-z0-9_.!-]{1,6}".prop_map(|token: String| (token.clone(), token));
        let quoted = "[ -~é]{0,12}".prop_map(|text: String| {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            (text, format!("\"{escaped}\""))
        });
        prop_oneof![token, quoted]
    }

    proptest! {
        #[test]
        fn a_list_that_follows_the_grammar_is_read_completely(
            meant in prop::collection::vec(
                (
                    "[A-Za-z][A-Za-z0-9-]{0,8}",
                    prop::option::of("[A-Za-z0-9._~+/-]{1,8}={0,2}"),
                    prop::collection::vec(("[a-z*]{1,8}", value()), 0..4),
                ),
                0..5,
            ),
            comma in prop::sample::select(vec![",", ", ", " ,\t", ", ,"]),
            equals in prop::sample::select(vec!["=", " = ", "= "]),
        ) {
            let mut elements = Vec::new();
            let mut expected = Vec::new();
            for (scheme, token68, parameters) in meant {
                let written: Vec<_> =
                    parameters.iter().map(|(name, (_, written))| format!("{name}{equals}{written}")).collect();
                let (parameters, rest) = match token68 {
                    Some(token68) => (Vec::new(), vec![format!("{scheme} {token68}")]),
                    None if written.is_empty() => (Vec::new(), vec![scheme.clone()]),
                    None => (parameters, vec![format!("{scheme} {}", written.join(comma))]),
                };
                elements.extend(rest);
                let parameters = parameters.into_iter().map(|(name, (value, _))| (name, value)).collect();
                expected.push((scheme, parameters));
            }
            prop_assert_eq!(read(&elements.join(comma)), expected);
        }

        #[test]
        fn of_any_text_only_tokens_become_names(text in "[ -~é,=\"\\\\]{0,40}") {
            for challenge in challenges(&text) {
                for name in challenge.parameters.iter().map(|(name, _)| name).chain([&challenge.scheme]) {
                    prop_assert!(!name.is_empty() && name.chars().all(is_token_character), "{name}");
                }
            }
        }
    }
}
