//! Reads the cookies that a response sets, as a user agent does (RFC 6265 5.2 and 5.3).

mod date;

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use http::header::{DATE, SET_COOKIE};

/// One `Set-Cookie` header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SetCookie<'a> {
    name: &'a [u8],
    /// The value as a client sends it back: with its quotes, if it has any.
    value: &'a [u8],
    domain: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    max_age: Option<TimeDelta>,
    expires: Option<DateTime<Utc>>,
}

/// The effect of a response on one cookie.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CookieLookup<'a> {
    /// The response sets the cookie for this lifetime. `None`: until the session ends.
    Set { value: &'a [u8], lifetime: Option<TimeDelta> },
    /// The response sets the cookie to an empty value.
    Empty,
    /// The response deletes the cookie: its expiry is in the past.
    Expired,
    /// The response does not mention the cookie.
    Missing,
}

/// All cookies that a response sets or deletes, in the order of its headers.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = SetCookie<'_>> {
    headers.get_all(SET_COOKIE).iter().filter_map(|header| SetCookie::parse(header.as_bytes()))
}

/// Looks for the cookie with this name in the response to a call that was sent at `sent_at`.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str, sent_at: DateTime<Utc>) -> CookieLookup<'a> {
    // `Expires` is a time of the server's clock. The `Date` of the response shows that clock.
    let date = headers.get(DATE).and_then(|date| date::parse(date.as_bytes())).unwrap_or(sent_at);
    let mut kept: Vec<SetCookie<'_>> = Vec::new();
    for cookie in cookies(headers).filter(|cookie| cookie.name == name.as_bytes()) {
        // A later cookie replaces an earlier one only if domain and path are the same (RFC 6265 5.3). Some servers set
        // a cookie and delete one with the same name at another path in the same response.
        kept.retain(|earlier| !earlier.is_replaced_by(&cookie));
        kept.push(cookie);
    }
    let mut lookup = CookieLookup::Missing;
    for cookie in kept {
        let next = cookie.at(date);
        if next.is_set() || !lookup.is_set() {
            lookup = next;
        }
    }
    lookup
}

impl<'a> SetCookie<'a> {
    /// Reads one header; `None` if a user agent ignores the whole header.
    fn parse(header: &'a [u8]) -> Option<Self> {
        let mut parts = header.split(|byte| *byte == b';');
        let (name, value) = pair(parts.next()?);
        let mut cookie = Self { name, value: value?, ..Self::default() };
        if name.is_empty() {
            return None;
        }
        // Of two attributes with one name, the later one counts.
        for (name, value) in parts.map(pair) {
            let value = value.unwrap_or_default();
            match name.to_ascii_lowercase().as_slice() {
                // A user agent ignores an empty domain, and a path without a leading `/` (RFC 6265 5.2.3, 5.2.4).
                b"domain" => {
                    let domain = value.strip_prefix(b".").unwrap_or(value);
                    cookie.domain = (!domain.is_empty()).then_some(domain).or(cookie.domain);
                }
                b"path" => cookie.path = value.starts_with(b"/").then_some(value),
                b"max-age" => cookie.max_age = max_age(value).or(cookie.max_age),
                b"expires" => cookie.expires = date::parse(value).or(cookie.expires),
                _ => {}
            }
        }
        Some(cookie)
    }

    fn is_replaced_by(&self, later: &Self) -> bool {
        let domain = |cookie: &Self| cookie.domain.map(<[u8]>::to_ascii_lowercase);
        domain(self) == domain(later) && self.path == later.path
    }

    /// The effect of the cookie at a time.
    fn at(&self, now: DateTime<Utc>) -> CookieLookup<'a> {
        // `Max-Age` wins over `Expires` (RFC 6265 5.3).
        let lifetime = self.max_age.or_else(|| Some(self.expires?.signed_duration_since(now)));
        match lifetime {
            Some(lifetime) if lifetime <= TimeDelta::zero() => CookieLookup::Expired,
            _ if self.unquoted().is_empty() => CookieLookup::Empty,
            lifetime => CookieLookup::Set { value: self.value, lifetime },
        }
    }

    /// The value without its quotes. By RFC 6265 5.2 the quotes are part of the value, but they carry no
    /// information.
    pub(super) fn unquoted(&self) -> &'a [u8] {
        self.value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(self.value)
    }
}

impl CookieLookup<'_> {
    fn is_set(&self) -> bool {
        matches!(self, Self::Set { .. })
    }
}

/// The name and the value of a pair, without the blanks around them. The value is `None` if the text has no `=`.
fn pair(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (trimmed(&text[..at]), Some(trimmed(&text[at + 1..]))),
        None => (trimmed(text), None),
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The lifetime that a `Max-Age` sets: digits, with or without a minus sign (RFC 6265 5.2.2). `None` for anything
/// else, which a user agent ignores.
fn max_age(value: &[u8]) -> Option<TimeDelta> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.len() < value.len() {
        return Some(TimeDelta::zero());
    }
    // A number that does not fit is a long lifetime, not an invalid one.
    let seconds = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    Some(seconds.and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// 2024-01-01T00:00:00Z
    const NOW: i64 = 1_704_067_200;

    fn answer(cookies: &[&str]) -> HeaderMap {
        let value = |cookie: &&str| (SET_COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        cookies.iter().map(value).collect()
    }

    fn found(cookies: &[&str]) -> Result<(String, Option<i64>), &'static str> {
        match find(&answer(cookies), "JSESSIONID", at(NOW)) {
            CookieLookup::Set { value, lifetime } => {
                let seconds = lifetime.map(|lifetime| lifetime.num_seconds());
                Ok((String::from_utf8_lossy(value).into_owned(), seconds))
            }
            CookieLookup::Empty => Err("empty"),
            CookieLookup::Expired => Err("expired"),
            CookieLookup::Missing => Err("missing"),
        }
    }

    #[test]
    fn a_cookie_is_read_as_rfc_6265_says_and_without_its_attributes() {
        for (cookies, value) in [
            (&["route=node1; Path=/", "JSESSIONID=s1; Path=/; HttpOnly"][..], "s1"),
            (&["JSESSIONID=s1; Path=/; HttpOnly", "route=node1; Path=/"], "s1"),
            (&["JSESSIONID=s1"], "s1"),
            (&[" JSESSIONID \t=\t s1 ; Secure"], "s1"),
            (&["JSESSIONID=\"s 1\"; Path=/"], "\"s 1\""),
            (&["JSESSIONID=a=b==; Path=/"], "a=b=="),
            (&["JSESSIONID=s1;;;=;Path"], "s1"),
            (&["jsessionid=lower", "JSESSIONID=s1", "XJSESSIONID=x"], "s1"),
            (&["other=x; JSESSIONID=no", "JSESSIONID=s1"], "s1"),
            (&["caf\u{e9}=\u{e9}", "JSESSIONID=s1"], "s1"),
            // Of two headers for the same cookie the later counts. Of two different cookies of this name the one
            // that is not deleted counts.
            (&["JSESSIONID=old; Path=/", "JSESSIONID=s1; Path=/"], "s1"),
            (&["JSESSIONID=old; Path=/a", "JSESSIONID=s1; Path=/"], "s1"),
            (&["JSESSIONID=; Path=/a; Max-Age=0", "JSESSIONID=s1; Path=/"], "s1"),
            (&["JSESSIONID=s1; Path=/", "JSESSIONID=; Path=/a; Max-Age=0"], "s1"),
            (&["JSESSIONID=s1; Domain=.A.example", "JSESSIONID=x; domain=b.example; max-age=0"], "s1"),
        ] {
            assert_eq!(found(cookies), Ok((value.to_owned(), None)), "{cookies:?}");
        }
    }

    #[test]
    fn a_cookie_that_is_missing_deleted_or_empty_is_no_token() {
        for (cookies, why) in [
            (&[][..], "missing"),
            (&["route=node1; Path=/"], "missing"),
            (&["JSESSIONID"], "missing"),
            (&["=s1"], "missing"),
            (&["JSESSIONID; Path=/=x"], "missing"),
            (&["JSESSIONID=; Path=/"], "empty"),
            (&["JSESSIONID=\"\""], "empty"),
            (&["JSESSIONID=s1; Max-Age=0"], "expired"),
            (&["JSESSIONID=s1; max-age=-1"], "expired"),
            (&["JSESSIONID=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"], "expired"),
            (&["JSESSIONID=s1; Expires=Thu, 01-Jan-1970 00:00:10 GMT"], "expired"),
            (&["JSESSIONID=s1; Expires=Mon, 01 Jan 2024 00:00:00 GMT"], "expired"),
            (&["JSESSIONID=s1; Path=/", "JSESSIONID=gone; Path=/; Max-Age=0"], "expired"),
            (
                &["JSESSIONID=s1; Domain=A.example", "JSESSIONID=gone; domain=.a.EXAMPLE; Max-Age=0"],
                "expired",
            ),
            (&["JSESSIONID=s1", "JSESSIONID=gone; Domain=; Path=; Max-Age=0"], "expired"),
            (&["JSESSIONID=s1; Path=/; Path", "JSESSIONID=gone; Path=x; Max-Age=0"], "expired"),
        ] {
            assert_eq!(found(cookies), Err(why), "{cookies:?}");
        }
    }

    #[test]
    fn max_age_sets_the_lifetime_or_else_expires_does() {
        for (attributes, seconds) in [
            ("Max-Age=3600", Some(3600)),
            ("MAX-AGE = 3600 ", Some(3600)),
            ("Max-Age=3600; Max-Age=60", Some(60)),
            ("Max-Age=3600; Max-Age=soon", Some(3600)),
            ("Expires=Mon, 01 Jan 2024 00:01:00 GMT", Some(60)),
            ("Max-Age=3600; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Some(3600)),
            ("Max-Age=99999999999999999999", Some(i64::MAX / 1000)),
            ("Max-Age", None),
            ("Max-Age=", None),
            ("Max-Age=-", None),
            ("Max-Age=+1", None),
            ("Max-Age=1.5", None),
            ("Expires=later", None),
        ] {
            let cookie = format!("JSESSIONID=s1; {attributes}");
            assert_eq!(found(&[&cookie]), Ok(("s1".to_owned(), seconds)), "{attributes}");
        }
    }

    #[test]
    fn expires_is_compared_with_the_servers_clock() {
        let mut headers = answer(&["JSESSIONID=s1; Expires=Mon, 01 Jan 2024 00:01:00 GMT"]);
        headers.insert(DATE, HeaderValue::from_static("Mon, 01 Jan 2024 00:00:00 GMT"));
        let found = find(&headers, "JSESSIONID", at(NOW + 7200));
        assert_eq!(found, CookieLookup::Set { value: b"s1", lifetime: Some(TimeDelta::seconds(60)) });
    }
}
