use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::TokenData;

/// Where the parts of a token stand in an issuer's answer; the defaults are those of RFC 6749 5.1.
///
/// ```
/// use forge_core::{ResponseFields, TokenData};
/// use serde_json::json;
///
/// let fields = ResponseFields { access_token: "jwt".into(), ..ResponseFields::default() };
/// let token = TokenData::from_response(&json!({"jwt": "abc", "tenant": 7}), &fields)?;
/// assert_eq!(token.access_token(), "abc");
/// assert_eq!(token.extra()["tenant"], 7);
/// # Ok::<_, forge_core::InvalidTokenResponse>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFields {
    /// Default: `access_token`.
    pub access_token: Cow<'static, str>,
    /// Default: `token_type`.
    pub token_type: Cow<'static, str>,
    /// Default: `expires_in`, in seconds.
    pub expires_in: Cow<'static, str>,
    /// Default: `refresh_token`.
    pub refresh_token: Cow<'static, str>,
    /// Default: `scope`.
    pub scope: Cow<'static, str>,
}

impl Default for ResponseFields {
    fn default() -> Self {
        Self {
            access_token: "access_token".into(),
            token_type: "token_type".into(),
            expires_in: "expires_in".into(),
            refresh_token: "refresh_token".into(),
            scope: "scope".into(),
        }
    }
}

/// An answer that holds no usable token. Names the field and what was expected, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: expected {expected}, found {found}")]
pub struct InvalidTokenResponse {
    field: String,
    expected: &'static str,
    found: &'static str,
}

impl InvalidTokenResponse {
    /// The field that is wrong.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

/// Clocks here count milliseconds.
const SHORTEST_LIFETIME: f64 = 0.001;
/// 100 years of 365.25 days: more is a mistake of the server, or a trap.
const LONGEST_LIFETIME: f64 = 3_155_760_000.0;

impl TokenData {
    /// Reads a token from an issuer's answer. What `fields` does not name goes to `extra`.
    ///
    /// `expires_in` may be a number, also fractional, or a string that holds one; a missing or
    /// `null` one means that the token does not expire. A missing type is `Bearer`, and `bearer` in
    /// any case is written `Bearer` (types ignore case, RFC 6749 5.1, yet some APIs do not). `scope`
    /// may be a list of strings.
    ///
    /// # Errors
    ///
    /// No JSON object; an access token that is missing, empty, not a string or has characters that
    /// cannot stand in a header; an `expires_in` that is not positive, over 100 years, or no number;
    /// a refresh token, type or scope of another JSON type.
    pub fn from_response(answer: &Value, fields: &ResponseFields) -> Result<Self, InvalidTokenResponse> {
        Self::from_response_at(answer, fields, Utc::now())
    }

    /// As [`from_response`](Self::from_response), for an answer to a call that was sent at
    /// `issued_at`: the lifetime counts from there, so that a slow answer does not stretch it.
    ///
    /// # Errors
    ///
    /// As [`from_response`](Self::from_response).
    pub fn from_response_at(
        answer: &Value,
        fields: &ResponseFields,
        issued_at: DateTime<Utc>,
    ) -> Result<Self, InvalidTokenResponse> {
        let answer = answer.as_object().ok_or_else(|| InvalidTokenResponse {
            field: "(the whole answer)".to_owned(),
            expected: "a JSON object",
            found: kind_of(answer),
        })?;

        let mut token = Self::new(access_token(answer, &fields.access_token)?).with_issued_at(issued_at);
        if let Some(token_type) = text(answer, &fields.token_type)? {
            let bearer = token_type.eq_ignore_ascii_case("bearer");
            token = token.with_token_type(if bearer {
                "Bearer"
            } else {
                header_safe(&fields.token_type, token_type)?
            });
        }
        if let Some(lifetime) = lifetime(answer, &fields.expires_in)? {
            let expires_at = issued_at.checked_add_signed(lifetime);
            token = token.with_expires_at(expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC));
        }
        if let Some(refresh_token) = text(answer, &fields.refresh_token)? {
            token = token.with_refresh_token(refresh_token);
        }
        if let Some(scope) = scope(answer, &fields.scope)? {
            token = token.with_scope(scope);
        }

        let named = [
            &fields.access_token,
            &fields.token_type,
            &fields.expires_in,
            &fields.refresh_token,
            &fields.scope,
        ];
        let is_extra = |(name, _): &(&String, &Value)| named.iter().all(|field| field != name);
        let extra = answer.iter().filter(is_extra).map(|(name, value)| (name.clone(), value.clone()));
        Ok(token.with_extra(extra.collect()))
    }
}

fn access_token<'a>(answer: &'a Map<String, Value>, field: &str) -> Result<&'a str, InvalidTokenResponse> {
    let value = text(answer, field)?.ok_or_else(|| InvalidTokenResponse {
        field: field.to_owned(),
        expected: "a non-empty string",
        found: "nothing",
    })?;
    header_safe(field, value)
}

/// Printable ASCII (RFC 6749 A.12): what could split a header never becomes a credential.
fn header_safe<'a>(field: &str, value: &'a str) -> Result<&'a str, InvalidTokenResponse> {
    if value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Ok(value);
    }
    Err(InvalidTokenResponse {
        field: field.to_owned(),
        expected: "printable ASCII characters only",
        found: "others",
    })
}

/// A string field; missing, `null` and empty are all nothing.
fn text<'a>(answer: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, InvalidTokenResponse> {
    match answer.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(other) => {
            Err(InvalidTokenResponse { field: field.to_owned(), expected: "a string", found: kind_of(other) })
        }
    }
}

fn scope<'a>(
    answer: &'a Map<String, Value>,
    field: &str,
) -> Result<Option<Cow<'a, str>>, InvalidTokenResponse> {
    let Some(Value::Array(words)) = answer.get(field) else {
        return Ok(text(answer, field)?.map(Cow::Borrowed));
    };
    let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
    let words = words.ok_or_else(|| InvalidTokenResponse {
        field: field.to_owned(),
        expected: "a string or a list of strings",
        found: "a list of other things",
    })?;
    Ok(Some(words.join(" ").into()).filter(|scope: &Cow<'_, str>| !scope.is_empty()))
}

fn lifetime(answer: &Map<String, Value>, field: &str) -> Result<Option<TimeDelta>, InvalidTokenResponse> {
    let invalid = |found| InvalidTokenResponse {
        field: field.to_owned(),
        expected: "a positive number of seconds, at most 100 years",
        found,
    };
    let seconds = match answer.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => {
            Some(text.trim().parse().map_err(|_| invalid("a string that is no number"))?)
        }
        Some(other) => return Err(invalid(kind_of(other))),
    };
    match seconds {
        Some(seconds) if (SHORTEST_LIFETIME..=LONGEST_LIFETIME).contains(&seconds) => {
            Ok(TimeDelta::from_std(Duration::from_secs_f64(seconds)).ok())
        }
        Some(seconds) if seconds > LONGEST_LIFETIME => Err(invalid("a larger one")),
        Some(0.0) => Err(invalid("zero")),
        Some(seconds) if seconds > 0.0 => Err(invalid("one below a millisecond")),
        _ => Err(invalid("a negative one, or none")),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(answer: &Value) -> Result<TokenData, InvalidTokenResponse> {
        TokenData::from_response_at(answer, &ResponseFields::default(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_full_answer_is_read_field_by_field() {
        let token = parse(&json!({
            "access_token": "abc", "token_type": "bearer", "expires_in": 3600,
            "refresh_token": "r", "scope": "read write", "id_token": "x",
        }))
        .unwrap();
        assert_eq!(token.authorization_header(), "Bearer abc");
        assert_eq!(token.expires_at().unwrap().timestamp(), 3600);
        assert_eq!(token.issued_at(), Some(DateTime::UNIX_EPOCH));
        assert_eq!((token.refresh_token(), token.scope()), (Some("r"), Some("read write")));
        assert_eq!(token.extra().keys().collect::<Vec<_>>(), ["id_token"]);
    }

    #[test]
    fn expires_in_comes_in_many_forms() {
        let expiry =
            |value: Value| parse(&json!({"access_token": "a", "expires_in": value})).map(|t| t.expires_at());
        for (value, millis) in [
            (json!(60), 60_000),
            (json!("60"), 60_000),
            (json!(1e3), 1_000_000),
            (json!(0.5), 500),
            (json!(" 7 "), 7_000),
        ] {
            assert_eq!(expiry(value.clone()).unwrap().unwrap().timestamp_millis(), millis, "{value}");
        }
        assert_eq!(expiry(Value::Null), Ok(None));
        for value in [
            json!(-1),
            json!(0),
            json!(i64::MAX),
            json!(u64::MAX),
            json!("soon"),
            json!("NaN"),
            json!("inf"),
            json!("-inf"),
            json!(""),
            json!([60]),
            json!(true),
            json!(1e300),
            json!(1e-9),
        ] {
            assert_eq!(expiry(value.clone()).unwrap_err().field(), "expires_in", "{value}");
        }
    }

    #[test]
    fn a_wrong_field_is_named_and_its_value_is_not_echoed() {
        for (field, answer) in [
            ("access_token", json!({})),
            ("access_token", json!({"access_token": null})),
            ("access_token", json!({"access_token": ""})),
            ("access_token", json!({"access_token": 12345})),
            ("access_token", json!({"access_token": "canary\r\nX-Evil: 1"})),
            ("access_token", json!({"access_token": "canaryé"})),
            ("token_type", json!({"access_token": "a", "token_type": ["canary"]})),
            ("token_type", json!({"access_token": "a", "token_type": "canary\n"})),
            ("refresh_token", json!({"access_token": "a", "refresh_token": ["canary"]})),
            ("scope", json!({"access_token": "a", "scope": ["canary", 1]})),
            ("(the whole answer)", json!(["canary"])),
        ] {
            let error = parse(&answer).unwrap_err();
            assert_eq!(error.field(), field);
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn a_list_of_scopes_is_joined() {
        let token = parse(&json!({"access_token": "a", "scope": ["read", "write"]})).unwrap();
        assert_eq!(token.scope(), Some("read write"));
    }
}
