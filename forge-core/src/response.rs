use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::TokenData;
use crate::token_text::{is_printable_ascii, is_token_text};

/// The names of the fields from which a token is read in an issuer's response. The defaults are those of RFC 6749 5.1.
///
/// Each is the name of a field at the top level. If it begins with `/`, it is a JSON pointer (RFC 6901) to a nested
/// field: `/data/token`.
///
/// ```
/// use requestforge::TokenData;
/// use requestforge::oauth2::ResponseFields;
/// use serde_json::json;
///
/// let fields = ResponseFields::default().with_access_token("jwt");
/// let token = TokenData::from_response(&json!({"jwt": "abc", "tenant": 7}), &fields)?;
/// assert_eq!(token.access_token(), "abc");
/// assert_eq!(token.extra()["tenant"], 7);
/// # Ok::<_, requestforge::oauth2::InvalidTokenResponse>(())
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
    /// For issuers that state a point in time instead of a lifetime: the field, and its format. If this is set, `expires_in`
    /// is not read. Default: none.
    pub expires_at: Option<(Cow<'static, str>, TimeFormat)>,
    /// The type of a token whose response names no type. Default: `Bearer`.
    pub default_token_type: Cow<'static, str>,
}

/// The format of a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeFormat {
    /// A text such as `2026-11-25T21:46:00Z` (RFC 3339).
    Rfc3339,
    /// Seconds since 1970-01-01T00:00:00Z, with or without a fraction, as a number or as a string.
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

    /// Reads the expiry from this field, a point in time in this format, instead of reading `expires_in`.
    #[must_use]
    pub fn with_expires_at(mut self, field: impl Into<Cow<'static, str>>, format: TimeFormat) -> Self {
        self.expires_at = Some((field.into(), format));
        self
    }

    /// Gives this type to a token whose response names no type.
    #[must_use]
    pub fn with_default_token_type(mut self, token_type: impl Into<Cow<'static, str>>) -> Self {
        self.default_token_type = token_type.into();
        self
    }

    /// The texts of a response in the fields of the access token and the refresh token, in an error response, too.
    pub fn tokens_in<'a>(&self, answer: &'a Value) -> impl Iterator<Item = &'a str> {
        [&self.access_token, &self.refresh_token].into_iter().filter_map(|field| get(answer, field)?.as_str())
    }
}

/// A response that contains no usable token. The error names the field and what it expects, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: expected {expected}, found {found}")]
pub struct InvalidTokenResponse {
    field: String,
    expected: &'static str,
    found: &'static str,
}

impl InvalidTokenResponse {
    /// The name of the invalid field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

/// One millisecond: the clocks of this library count milliseconds.
const MIN_LIFETIME: f64 = 0.001;
/// 100 years of 365.25 days. A longer lifetime is an error of the server, or an attack on the arithmetic.
const MAX_LIFETIME: f64 = 3_155_760_000.0;

impl TokenData {
    /// Reads a token from an issuer's response. Fields that `fields` does not name go to `extra`.
    ///
    /// `expires_in` may be a number, with or without a fraction, or a string with a number. If it is missing or `null`,
    /// the token does not expire. `bearer` in any case becomes `Bearer`: types ignore case (RFC 6749 5.1), but some APIs do
    /// not. `BearerToken`, which some gateways send, becomes `Bearer` as well. `scope` may be a list of strings.
    ///
    /// # Errors
    ///
    /// - the response is not a JSON object;
    /// - the access token is missing, empty, not a string, or contains other characters than printable ASCII;
    /// - `expires_in` is not a number, not positive, or more than 100 years;
    /// - `expires_at` is not a point in time, in the past, or more than 100 years ahead;
    /// - the refresh token, the type or the scope has another JSON type.
    pub fn from_response(answer: &Value, fields: &ResponseFields) -> Result<Self, InvalidTokenResponse> {
        Self::from_response_at(answer, fields, Utc::now())
    }

    /// As [`from_response`](Self::from_response), for a call that the client sent at `issued_at`. The lifetime counts from
    /// then, so that a slow response does not extend it.
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
                field: "(the whole response)".to_owned(),
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

/// The value of a field, which may be nested.
fn get<'a>(answer: &'a Value, field: &str) -> Option<&'a Value> {
    if field.starts_with('/') { answer.pointer(field) } else { answer.get(field) }
}

/// A copy without these values, which are parts of `value` itself. In an array `null` replaces a removed value, so that
/// the other values keep their indices. The function never copies a consumed value, because a token may be 1 MiB long.
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
    Err(InvalidTokenResponse { field: field.to_owned(), expected: "a token", found: "only spaces" })
}

/// Rejects a text that could split a header.
fn header_safe<'a>(field: &str, value: &'a str) -> Result<&'a str, InvalidTokenResponse> {
    if is_printable_ascii(value) {
        return Ok(value);
    }
    Err(InvalidTokenResponse {
        field: field.to_owned(),
        expected: "only printable ASCII characters",
        found: "other characters",
    })
}

/// The value of a string field. `None` if the field is missing, `null` or empty.
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
        found: "a list with other values",
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
            Some(text.trim().parse().map_err(|_| invalid("a string that is not a number"))?)
        }
        Some(other) => return Err(invalid(kind_of(other))),
    };
    match seconds {
        Some(seconds) if (MIN_LIFETIME..=MAX_LIFETIME).contains(&seconds) => {
            Ok(TimeDelta::from_std(Duration::from_secs_f64(seconds)).ok())
        }
        Some(seconds) if seconds > MAX_LIFETIME => Err(invalid("a larger number")),
        Some(0.0) => Err(invalid("zero")),
        Some(seconds) if seconds > 0.0 => Err(invalid("less than a millisecond")),
        _ => Err(invalid("a negative number, or not a number")),
    }
}

/// A stated expiry. It must be after the call, just as a stated lifetime must be positive.
fn moment(
    answer: &Value,
    field: &str,
    format: TimeFormat,
    issued_at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, InvalidTokenResponse> {
    let invalid = |found| InvalidTokenResponse {
        field: field.to_owned(),
        expected: match format {
            TimeFormat::Rfc3339 => "a future time in the format of RFC 3339, within 100 years",
            TimeFormat::UnixSeconds => "a future time in seconds since 1970, within 100 years",
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
            moment.map_err(|_| invalid("a string in another format"))?.to_utc()
        }
        (TimeFormat::UnixSeconds, Value::Number(_) | Value::String(_)) => {
            let seconds = match value {
                Value::String(text) => text.trim().parse().ok(),
                number => number.as_f64(),
            };
            let since_1970 = seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
            let since_1970 = since_1970.and_then(|since| TimeDelta::from_std(since).ok());
            let moment = since_1970.and_then(|since| DateTime::UNIX_EPOCH.checked_add_signed(since));
            moment.ok_or_else(|| invalid("a value that is not such a number"))?
        }
        (_, other) => return Err(invalid(kind_of(other))),
    };
    let left = moment.signed_duration_since(issued_at);
    if left.num_milliseconds() < 1 {
        return Err(invalid("a time in the past"));
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "for a limit of 100 years a second more or less does not matter"
    )]
    if left.num_seconds() as f64 > MAX_LIFETIME {
        return Err(invalid("a later time"));
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
mod tests;
