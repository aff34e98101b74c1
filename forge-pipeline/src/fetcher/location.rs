use chrono::{DateTime, Utc};
use forge_core::{AuthenticationError, ResponseFields, TokenData, is_token_text};
use forge_token::TokenResponse;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::cookie::{self, CookieLookup, cookies};

/// The part of a response that contains the token.
pub trait TokenLocation: Send + Sync + 'static {
    /// The value of `Accept`, unless a header of the step sets it.
    const ACCEPT: &'static str;

    /// Reads the token from a response. Its lifetime counts from `sent_at`. No error contains one of `secrets`.
    fn read(
        &self,
        response: &TokenResponse,
        sent_at: DateTime<Utc>,
        secrets: &[&str],
    ) -> Result<TokenData, AuthenticationError>;

    /// The same location, for a step with a lifetime of its own. It ignores the expiry in the response.
    fn without_expiry(self) -> Self;
}

/// The token is in the JSON body of the response.
#[derive(Clone, Debug, Default)]
pub struct InBody {
    pub(super) fields: ResponseFields,
}

impl TokenLocation for InBody {
    const ACCEPT: &'static str = "application/json";

    fn read(
        &self,
        response: &TokenResponse,
        sent_at: DateTime<Utc>,
        secrets: &[&str],
    ) -> Result<TokenData, AuthenticationError> {
        response.read_token(&self.fields, sent_at, secrets)
    }

    fn without_expiry(mut self) -> Self {
        self.fields.expires_at = None;
        // No response has a field with an empty name.
        self.fields.expires_in = "".into();
        self
    }
}

/// The token is in a header of the response.
#[derive(Clone, Debug)]
pub struct InHeader {
    pub(super) source: HeaderSource,
    pub(super) token_type: String,
    reads_expiry: bool,
}

/// The header that holds the token, and the part of it that is the token.
#[derive(Clone, Debug)]
pub(super) enum HeaderSource {
    /// The value of this header.
    Named(HeaderName),
    /// The value of the cookie with this name. Any of several `Set-Cookie` headers may set it.
    Cookie(String),
}

impl InHeader {
    /// A `Bearer` token in `Authorization`.
    pub(super) fn authorization() -> Self {
        let source = HeaderSource::Named(AUTHORIZATION);
        Self { source, token_type: "Bearer".to_owned(), reads_expiry: true }
    }

    /// The texts that may be the token, also in the response of a failure.
    fn tokens_in(&self, headers: &HeaderMap) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match &self.source {
            HeaderSource::Named(name) => {
                let values = headers.get_all(name).iter().map(|value| text(value.as_bytes()));
                values.map(|value| without_type(value.trim(), &self.token_type).to_owned()).collect()
            }
            HeaderSource::Cookie(_) => cookies(headers).map(|cookie| text(cookie.unquoted())).collect(),
        }
    }

    fn read_header(
        &self,
        response: &TokenResponse,
        name: &HeaderName,
    ) -> Result<TokenData, AuthenticationError> {
        let missing = || response.invalid(format!("header `{name}`: expected a token, found nothing"));
        let value = response.headers.get(name).ok_or_else(missing)?;
        let value = value
            .to_str()
            .map_err(|_| response.invalid(format!("header `{name}`: expected {PRINTABLE_ASCII}")))?;
        let token = without_type(value.trim(), &self.token_type);
        if token.is_empty() { Err(missing()) } else { Ok(TokenData::new(token)) }
    }

    fn read_cookie(
        &self,
        response: &TokenResponse,
        name: &str,
        sent_at: DateTime<Utc>,
    ) -> Result<TokenData, AuthenticationError> {
        let invalid = |what: &str| response.invalid(format!("cookie `{name}`: expected {what}"));
        let (value, lifetime) = match cookie::find(&response.headers, name, sent_at) {
            CookieLookup::Set { value, lifetime } => (value, lifetime),
            CookieLookup::Empty => return Err(invalid("a value, found an empty one")),
            CookieLookup::Expired => return Err(invalid("a value, found one that has expired")),
            CookieLookup::Missing => return Err(invalid("a value, found no such cookie")),
        };
        let token = std::str::from_utf8(value).ok().filter(|value| is_token_text(value));
        let token = TokenData::new(token.ok_or_else(|| invalid(PRINTABLE_ASCII))?);
        Ok(match lifetime.and_then(|lifetime| lifetime.to_std().ok()).filter(|_| self.reads_expiry) {
            Some(lifetime) => token.with_lifetime_from(lifetime, sent_at),
            None => token,
        })
    }
}

const PRINTABLE_ASCII: &str = "printable ASCII characters only";

impl TokenLocation for InHeader {
    const ACCEPT: &'static str = "*/*";

    fn read(
        &self,
        response: &TokenResponse,
        sent_at: DateTime<Utc>,
        secrets: &[&str],
    ) -> Result<TokenData, AuthenticationError> {
        // Attack: the response of a failure may carry a token in its headers and repeat it in its error description.
        let tokens = self.tokens_in(&response.headers);
        let secrets: Vec<&str> = secrets.iter().copied().chain(tokens.iter().map(String::as_str)).collect();
        response.check(sent_at, &secrets)?;
        let token = match &self.source {
            HeaderSource::Named(name) => self.read_header(response, name)?,
            HeaderSource::Cookie(name) => self.read_cookie(response, name, sent_at)?,
        };
        Ok(token.with_token_type(&*self.token_type).with_issued_at(sent_at))
    }

    fn without_expiry(self) -> Self {
        Self { reads_expiry: false, ..self }
    }
}

/// The token without its type in front, as in `Authorization: Bearer …`.
fn without_type<'a>(value: &'a str, token_type: &str) -> &'a str {
    match value.split_once(' ') {
        Some((first, rest)) if first.eq_ignore_ascii_case(token_type) => rest.trim_start(),
        _ if value.eq_ignore_ascii_case(token_type) => "",
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn read(headers: &[(&'static str, &str)], body: &str) -> Result<TokenData, AuthenticationError> {
        let source = HeaderSource::Named(HeaderName::from_static("x-token"));
        read_from(&InHeader { source, ..InHeader::authorization() }, headers, body)
    }

    fn read_from(
        location: &InHeader,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Result<TokenData, AuthenticationError> {
        let mut response = TokenResponse::new(StatusCode::OK, body.to_owned().into());
        for (name, value) in headers {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            response.headers.append(HeaderName::from_static(name), value);
        }
        location.read(&response, DateTime::UNIX_EPOCH, &["canary"])
    }

    #[test]
    fn a_token_in_a_header_is_read_without_its_type_whatever_the_body() {
        let long = format!("[{}1]", "1,".repeat(10_000));
        for (value, token) in
            [("abc", "abc"), ("Bearer abc", "abc"), ("bearer  a b", "a b"), ("Token abc", "Token abc")]
        {
            for body in ["", "<html>", "{}", &long] {
                let read = read(&[("x-token", value)], body).unwrap();
                assert_eq!((read.access_token(), read.expires_at()), (token, None), "{value}");
            }
        }
    }

    #[test]
    fn a_header_without_a_token_is_named_and_not_echoed() {
        for headers in
            [&[][..], &[("x-token", "")], &[("x-token", "Bearer ")], &[("x-token", "canary\u{e9}")]]
        {
            let error = read(headers, "{}").unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("header `x-token`") && !shown.contains("canary"), "{shown}");
        }
        let refused = read(&[("x-token", "abc")], r#"{"error":"no canary"}"#).unwrap_err();
        assert!(refused.oauth_error_code().is_some() && !refused.to_string().contains("canary"));
    }

    fn cookie() -> InHeader {
        InHeader { source: HeaderSource::Cookie("JSESSIONID".to_owned()), ..InHeader::authorization() }
    }

    #[test]
    fn a_token_in_a_cookie_is_its_value_and_lives_as_long_as_the_cookie() {
        let headers = [
            ("set-cookie", "route=node1; Path=/"),
            ("set-cookie", "JSESSIONID=s1; Path=/; HttpOnly; Max-Age=60"),
        ];
        let token = read_from(&cookie(), &headers, "").unwrap();
        assert_eq!(token.access_token(), "s1");
        let expiry = DateTime::from_timestamp(60, 0);
        assert_eq!((token.issued_at(), token.expires_at()), (Some(DateTime::UNIX_EPOCH), expiry));
        let token = read_from(&cookie().without_expiry(), &headers, "").unwrap();
        assert_eq!((token.issued_at(), token.expires_at()), (Some(DateTime::UNIX_EPOCH), None));
    }

    #[test]
    fn inv16_a_cookie_that_is_no_token_is_named_and_not_echoed() {
        for (value, why) in [
            ("route=canary", "found no such cookie"),
            ("JSESSIONID=; Path=canary", "found an empty one"),
            ("JSESSIONID=canary; Max-Age=0", "found one that has expired"),
            ("JSESSIONID=canary\u{e9}", "printable ASCII characters only"),
        ] {
            let error = read_from(&cookie(), &[("set-cookie", value)], "{}").unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("cookie `JSESSIONID`: expected") && shown.contains(why), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
        for cookie_header in ["JSESSIONID=the-session", "other=\"the-session\"; Path=/"] {
            let body = r#"{"error":"no","error_description":"session the-session is in use"}"#;
            let refused = read_from(&cookie(), &[("set-cookie", cookie_header)], body).unwrap_err();
            assert!(refused.oauth_error_code().is_some());
            assert!(!refused.to_string().contains("the-session"), "{refused}");
        }
    }
}
