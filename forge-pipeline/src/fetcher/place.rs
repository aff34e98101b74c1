use chrono::{DateTime, Utc};
use forge_core::{AuthenticationError, ResponseFields, TokenData};
use forge_token::TokenResponse;
use http::HeaderName;

/// Where in an answer a token stands.
pub trait Place: Send + Sync + 'static {
    /// What the endpoint is asked for, unless a header says otherwise.
    const ACCEPT: &'static str;

    /// The token in an answer, whose lifetime counts from `sent_at`. None of `secrets` gets into an error.
    fn read(
        &self,
        response: &TokenResponse,
        sent_at: DateTime<Utc>,
        secrets: &[&str],
    ) -> Result<TokenData, AuthenticationError>;

    /// The same, for tokens whose lifetime is known: what the answer says of it is not read.
    fn without_expiry(self) -> Self;
}

/// The token stands in the JSON of the answer.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub(super) fields: ResponseFields,
}

impl Place for Body {
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
        // No answer has a field without a name.
        self.fields.expires_in = "".into();
        self
    }
}

/// The token stands in a header of the answer.
#[derive(Clone, Debug)]
pub struct Header {
    pub(super) name: HeaderName,
    pub(super) token_type: String,
}

impl Place for Header {
    const ACCEPT: &'static str = "*/*";

    fn read(
        &self,
        response: &TokenResponse,
        sent_at: DateTime<Utc>,
        secrets: &[&str],
    ) -> Result<TokenData, AuthenticationError> {
        // What it sends along with an error may be a token, and may be in its words too.
        let values = response.headers.get_all(&self.name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let tokens = values.iter().map(|value| without_type(value.trim(), &self.token_type));
        let secrets: Vec<&str> = secrets.iter().copied().chain(tokens).collect();
        response.check(sent_at, &secrets)?;
        let missing = || response.invalid(format!("header `{}`: expected a token, found nothing", self.name));
        let value = response.headers.get(&self.name).ok_or_else(missing)?;
        let value = value.to_str().map_err(|_| {
            response.invalid(format!("header `{}`: expected printable ASCII characters only", self.name))
        })?;
        let token = without_type(value.trim(), &self.token_type);
        if token.is_empty() {
            return Err(missing());
        }
        Ok(TokenData::new(token).with_token_type(&*self.token_type).with_issued_at(sent_at))
    }

    fn without_expiry(self) -> Self {
        self
    }
}

/// A token whose type stands before it, as in `Authorization`.
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
        let place = Header { name: HeaderName::from_static("x-token"), token_type: "Bearer".to_owned() };
        let mut response = TokenResponse::new(StatusCode::OK, body.to_owned().into());
        for (name, value) in headers {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            response.headers.append(HeaderName::from_static(name), value);
        }
        place.read(&response, DateTime::UNIX_EPOCH, &["canary"])
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
}
