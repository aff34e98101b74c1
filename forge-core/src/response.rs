use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::TokenData;
use crate::token_text::{is_printable_ascii, is_token_text};

/// Where the parts of a token stand in an issuer's answer; the defaults are those of RFC 6749 5.1.
///
/// Each is the name of a field, or, if it begins with `/`, a JSON pointer (RFC 6901) to one that lies
/// deeper: `/data/token`.
///
/// ```
/// use forge_core::{ResponseFields, TokenData};
/// use serde_json::json;
///
/// let fields = ResponseFields::default().with_access_token("jwt");
/// let token = TokenData::from_response(&json!({"jwt": "abc", "tenant": 7}), &fields)?;
/// assert_eq!(token.access_token(), "abc");
/// assert_eq!(token.extra()["tenant"], 7);
/// # Ok::<_, forge_core::InvalidTokenResponse>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// For issuers that say when the token expires, not after which time: the field, and how the moment is
    /// written there. Then `expires_in` is not read. Default: none.
    pub expires_at: Option<(Cow<'static, str>, TimeFormat)>,
    /// The type of a token whose answer names none. Default: `Bearer`.
    pub default_token_type: Cow<'static, str>,
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeFormat {
    /// As in `2026-11-25T21:46:00Z` (RFC 3339).
    Rfc3339,
    /// Seconds since 1970-01-01T00:00:00Z, also fractional, as a number or a string that holds one.
    UnixSeconds,
}

impl Default for ResponseFields {
    fn default() -> Self {
        Self {
            access_token: "access_token".into(),
            token_type: "token_type".into(),
            expires_in: "expires_in".into(),
            refresh_token: "refresh_token".into(),
            scope: "scope".into(),
            expires_at: None,
            default_token_type: "Bearer".into(),
        }
    }
}

impl ResponseFields {
    /// Reads the access token from this field.
    #[must_use]
    pub fn with_access_token(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.access_token = field.into();
        self
    }

    /// Reads the token type from this field.
    #[must_use]
    pub fn with_token_type(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.token_type = field.into();
        self
    }

    /// Reads the lifetime in seconds from this field.
    #[must_use]
    pub fn with_expires_in(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.expires_in = field.into();
        self
    }

    /// Reads the refresh token from this field.
    #[must_use]
    pub fn with_refresh_token(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.refresh_token = field.into();
        self
    }

    /// Reads the scope from this field.
    #[must_use]
    pub fn with_scope(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.scope = field.into();
        self
    }

    /// Reads the expiry from this field, which holds a moment in this format, instead of reading `expires_in`.
    #[must_use]
    pub fn with_expires_at(mut self, field: impl Into<Cow<'static, str>>, format: TimeFormat) -> Self {
        self.expires_at = Some((field.into(), format));
        self
    }

    /// Gives this type to a token whose answer names none.
    #[must_use]
    pub fn with_default_token_type(mut self, token_type: impl Into<Cow<'static, str>>) -> Self {
        self.default_token_type = token_type.into();
        self
    }

    /// The texts of an answer in the places of the access token and the refresh token, also where it is no
    /// answer of success.
    pub fn tokens_in<'a>(&self, answer: &'a Value) -> impl Iterator<Item = &'a str> {
        [&self.access_token, &self.refresh_token].into_iter().filter_map(|field| get(answer, field)?.as_str())
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
const MIN_LIFETIME: f64 = 0.001;
/// 100 years of 365.25 days: more is a mistake of the server, or a trap.
const MAX_LIFETIME: f64 = 3_155_760_000.0;

impl TokenData {
    /// Reads a token from an issuer's answer. What `fields` does not name goes to `extra`.
    ///
    /// `expires_in` may be a number, also fractional, or a string that holds one; a missing or
    /// `null` one means that the token does not expire. `bearer` in any case is written `Bearer` (types
    /// ignore case, RFC 6749 5.1, yet some APIs do not), and so is `BearerToken`, as some gateways call it.
    /// `scope` may be a list of strings.
    ///
    /// # Errors
    ///
    /// No JSON object; an access token that is missing, empty, not a string or has other characters than
    /// printable ASCII; an `expires_in` that is not positive, over 100 years, or no number; an
    /// `expires_at` that is no moment, or not within 100 years; a refresh token, type or scope of another JSON type.
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
        if !answer.is_object() {
            return Err(InvalidTokenResponse {
                field: "(the whole answer)".to_owned(),
                expected: "a JSON object",
                found: kind_of(answer),
            });
        }

        let mut token = Self::new(access_token(answer, &fields.access_token)?).with_issued_at(issued_at);
        if let Some(token_type) = text(answer, &fields.token_type)? {
            let bearer = ["bearer", "bearertoken"].iter().any(|name| token_type.eq_ignore_ascii_case(name));
            token = token.with_token_type(if bearer {
                "Bearer"
            } else {
                header_safe(&fields.token_type, token_type)?
            });
        } else {
            token = token.with_token_type(&*fields.default_token_type);
        }
        let expires_at = match &fields.expires_at {
            Some((field, format)) => moment(answer, field, *format, issued_at)?,
            None => lifetime(answer, &fields.expires_in)?
                .map(|lifetime| issued_at.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC)),
        };
        if let Some(expires_at) = expires_at {
            token = token.with_expires_at(expires_at);
        }
        if let Some(refresh_token) = text(answer, &fields.refresh_token)? {
            token = token.with_refresh_token(refresh_token);
        }
        if let Some(scope) = scope(answer, &fields.scope)? {
            token = token.with_scope(scope);
        }

        let expiry = fields.expires_at.as_ref().map_or(&fields.expires_in, |(field, _)| field);
        let consumed: Vec<&Value> =
            [&fields.access_token, &fields.token_type, expiry, &fields.refresh_token, &fields.scope]
                .into_iter()
                .filter_map(|field| get(answer, field))
                .collect();
        Ok(match copy_without(answer, &consumed) {
            Value::Object(extra) => token.with_extra(extra),
            _ => token,
        })
    }
}

/// The value of a field, which may lie deeper.
fn get<'a>(answer: &'a Value, field: &str) -> Option<&'a Value> {
    if field.starts_with('/') { answer.pointer(field) } else { answer.get(field) }
}

/// A copy without these values, which are parts of `value` itself. In an array `null` takes the place of one, so that
/// the others keep their places. It never copies a consumed value: a token of the maximum length counts each time.
fn copy_without(value: &Value, consumed: &[&Value]) -> Value {
    let is_consumed = |part: &Value| consumed.iter().any(|consumed| std::ptr::eq(*consumed, part));
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, field)| !is_consumed(field));
            kept.map(|(name, field)| (name.clone(), copy_without(field, consumed))).collect()
        }
        Value::Array(items) => {
            let item = |item| if is_consumed(item) { Value::Null } else { copy_without(item, consumed) };
            items.iter().map(item).collect()
        }
        other => other.clone(),
    }
}

fn access_token<'a>(answer: &'a Value, field: &str) -> Result<&'a str, InvalidTokenResponse> {
    let value = text(answer, field)?.ok_or_else(|| InvalidTokenResponse {
        field: field.to_owned(),
        expected: "a non-empty string",
        found: "nothing",
    })?;
    let value = header_safe(field, value)?;
    if is_token_text(value) {
        return Ok(value);
    }
    Err(InvalidTokenResponse { field: field.to_owned(), expected: "a token", found: "spaces only" })
}

/// Rejects text that could split a header.
fn header_safe<'a>(field: &str, value: &'a str) -> Result<&'a str, InvalidTokenResponse> {
    if is_printable_ascii(value) {
        return Ok(value);
    }
    Err(InvalidTokenResponse {
        field: field.to_owned(),
        expected: "printable ASCII characters only",
        found: "others",
    })
}

/// A string field; missing, `null` and empty are all nothing.
fn text<'a>(answer: &'a Value, field: &str) -> Result<Option<&'a str>, InvalidTokenResponse> {
    match get(answer, field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(other) => {
            Err(InvalidTokenResponse { field: field.to_owned(), expected: "a string", found: kind_of(other) })
        }
    }
}

fn scope<'a>(answer: &'a Value, field: &str) -> Result<Option<Cow<'a, str>>, InvalidTokenResponse> {
    let Some(Value::Array(words)) = get(answer, field) else {
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

fn lifetime(answer: &Value, field: &str) -> Result<Option<TimeDelta>, InvalidTokenResponse> {
    let invalid = |found| InvalidTokenResponse {
        field: field.to_owned(),
        expected: "a positive number of seconds, at most 100 years",
        found,
    };
    let seconds = match get(answer, field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => {
            Some(text.trim().parse().map_err(|_| invalid("a string that is no number"))?)
        }
        Some(other) => return Err(invalid(kind_of(other))),
    };
    match seconds {
        Some(seconds) if (MIN_LIFETIME..=MAX_LIFETIME).contains(&seconds) => {
            Ok(TimeDelta::from_std(Duration::from_secs_f64(seconds)).ok())
        }
        Some(seconds) if seconds > MAX_LIFETIME => Err(invalid("a larger one")),
        Some(0.0) => Err(invalid("zero")),
        Some(seconds) if seconds > 0.0 => Err(invalid("one below a millisecond")),
        _ => Err(invalid("a negative one, or none")),
    }
}

/// A stated expiry. It must come after the call, as a stated lifetime must be positive.
fn moment(
    answer: &Value,
    field: &str,
    format: TimeFormat,
    issued_at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, InvalidTokenResponse> {
    let invalid = |found| InvalidTokenResponse {
        field: field.to_owned(),
        expected: match format {
            TimeFormat::Rfc3339 => "a time to come as RFC 3339 writes it, within 100 years",
            TimeFormat::UnixSeconds => "a time to come in seconds since 1970, within 100 years",
        },
        found,
    };
    let value = match get(answer, field) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let moment = match (format, value) {
        (TimeFormat::Rfc3339, Value::String(text)) => {
            let moment = DateTime::parse_from_rfc3339(text.trim());
            moment.map_err(|_| invalid("a string that is no such time"))?.to_utc()
        }
        (TimeFormat::UnixSeconds, Value::Number(_) | Value::String(_)) => {
            let seconds = match value {
                Value::String(text) => text.trim().parse().ok(),
                number => number.as_f64(),
            };
            let since_1970 = seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
            let since_1970 = since_1970.and_then(|since| TimeDelta::from_std(since).ok());
            let moment = since_1970.and_then(|since| DateTime::UNIX_EPOCH.checked_add_signed(since));
            moment.ok_or_else(|| invalid("no such number"))?
        }
        (_, other) => return Err(invalid(kind_of(other))),
    };
    let left = moment.signed_duration_since(issued_at);
    if left.num_milliseconds() < 1 {
        return Err(invalid("a time that is over"));
    }
    #[expect(clippy::cast_precision_loss, reason = "a century is no matter of seconds")]
    if left.num_seconds() as f64 > MAX_LIFETIME {
        return Err(invalid("a later one"));
    }
    Ok(Some(moment))
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
    fn bearer_is_written_in_one_way_and_other_types_stay() {
        for (sent, read) in [
            ("Bearer", "Bearer"),
            ("BEARER", "Bearer"),
            ("BearerToken", "Bearer"),
            ("", "Bearer"),
            ("mac", "mac"),
            ("DPoP", "DPoP"),
        ] {
            let token = parse(&json!({"access_token": "a", "token_type": sent})).unwrap();
            assert_eq!(token.token_type(), read);
        }
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
    fn fields_may_lie_deeper_and_are_not_kept_twice() {
        let fields = ResponseFields::default()
            .with_access_token("/data/token")
            .with_expires_in("/data/life/seconds")
            .with_refresh_token("/a~1b")
            .with_default_token_type("Token");
        let answer = json!({"data": {"token": "abc", "life": {"seconds": 60}, "tenant": 7}, "a/b": "r"});
        let token = TokenData::from_response_at(&answer, &fields, DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((token.access_token(), token.token_type()), ("abc", "Token"));
        assert_eq!((token.refresh_token(), token.expires_at().unwrap().timestamp()), (Some("r"), 60));
        assert_eq!(Value::from(token.extra().clone()), json!({"data": {"life": {}, "tenant": 7}}));

        let in_lists = fields.with_access_token("/tokens/1").with_refresh_token("/tokens/0/r");
        let answer = json!({"tokens": [{"r": "refresh"}, "abc", "more"]});
        let token = TokenData::from_response_at(&answer, &in_lists, DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((token.access_token(), token.refresh_token()), ("abc", Some("refresh")));
        assert_eq!(Value::from(token.extra().clone()), json!({"tokens": [{}, null, "more"]}));
        let fields = ResponseFields::default().with_access_token("/data/token");

        let error =
            TokenData::from_response_at(&json!({"data": []}), &fields, DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.field(), "/data/token");
    }

    #[test]
    fn an_expiry_may_be_a_moment() {
        let expiry = |format, value: &Value| {
            let fields = ResponseFields::default().with_expires_at("until", format);
            let answer = json!({"access_token": "a", "expires_in": "soon", "until": value});
            TokenData::from_response_at(&answer, &fields, DateTime::UNIX_EPOCH)
                .map(|token| token.expires_at())
        };
        let good = [
            (TimeFormat::Rfc3339, json!("1970-01-01T01:00:00Z"), 3_600_000),
            (TimeFormat::Rfc3339, json!(" 1970-01-01T02:00:00.5+01:00"), 3_600_500),
            (TimeFormat::UnixSeconds, json!(3_600), 3_600_000),
            (TimeFormat::UnixSeconds, json!("3600.5"), 3_600_500),
        ];
        for (format, value, millis) in good {
            assert_eq!(expiry(format, &value).unwrap().unwrap().timestamp_millis(), millis, "{value}");
            assert_eq!(expiry(format, &Value::Null), Ok(None));
        }
        let wrong = [
            (TimeFormat::Rfc3339, json!("tomorrow")),
            (TimeFormat::Rfc3339, json!(3_600)),
            (TimeFormat::Rfc3339, json!("1969-01-01T00:00:00Z")),
            (TimeFormat::Rfc3339, json!("2999-01-01T00:00:00Z")),
            (TimeFormat::UnixSeconds, json!("1970-01-01T01:00:00Z")),
            (TimeFormat::UnixSeconds, json!(0)),
            (TimeFormat::UnixSeconds, json!(-1)),
            (TimeFormat::UnixSeconds, json!(1e300)),
            (TimeFormat::UnixSeconds, json!(4e9)),
            (TimeFormat::UnixSeconds, json!("NaN")),
            (TimeFormat::UnixSeconds, json!([1])),
        ];
        for (format, value) in wrong {
            assert_eq!(expiry(format, &value).unwrap_err().field(), "until", "{value}");
        }
    }

    #[test]
    fn a_list_of_scopes_is_joined() {
        let token = parse(&json!({"access_token": "a", "scope": ["read", "write"]})).unwrap();
        assert_eq!(token.scope(), Some("read write"));
    }
}
