//! A token as text for a storage: the six fields of the Python library, and the issue time.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Extra, TokenData, wipe};
use crate::{Secret, StorageError};

/// A text that is not a valid token record. The error names the field and what it expects, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid token record: `{field}`: expected {expected}")]
pub struct InvalidTokenRecord {
    field: &'static str,
    expected: &'static str,
}

impl InvalidTokenRecord {
    fn new(field: &'static str, expected: &'static str) -> Self {
        Self { field, expected }
    }

    /// The name of the invalid field.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}

/// The name of the field in errors about the record as a whole.
const WHOLE_RECORD: &str = "record";

impl TokenData {
    /// The maximum length of a record in bytes: the same as for the response of a token endpoint.
    /// [`from_record`](Self::from_record) rejects a longer one.
    pub const MAX_RECORD_LENGTH: usize = 1_048_576;

    /// Serializes the token as a JSON object, for a storage of your own. The fields are `access_token`,
    /// `token_type`, `expires_at`, `refresh_token`, `scope` and `extra`, as the Python library's storages
    /// write them (timestamps are naive UTC with six fractional digits), and `issued_at` if it is known.
    /// Store `issued_at` too: a manager derives from it the token's lifetime, and so how long before the
    /// expiry to renew the token. A storage may drop the record at [`kept_until`](Self::kept_until).
    ///
    /// ```
    /// use requestforge::TokenData;
    ///
    /// let token = TokenData::new("abc").with_scope("read");
    /// let record = token.to_record()?;
    /// let expected = r#"{"access_token":"abc","token_type":"Bearer","expires_at":null,"refresh_token":null,"scope":"read","extra":{}}"#;
    /// assert_eq!(record.expose(), expected);
    /// assert_eq!(TokenData::from_record(record.expose()), Ok(token));
    /// # Ok::<_, requestforge::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error [is unstorable](StorageError::is_unstorable): [`from_record`](Self::from_record) could not
    /// read the record back, because the record is longer than
    /// [`MAX_RECORD_LENGTH`](Self::MAX_RECORD_LENGTH), `extra` is nested more than 125 deep, or the access
    /// token is empty.
    pub fn to_record(&self) -> Result<Secret, StorageError> {
        let record =
            self.write().ok_or_else(|| StorageError::unstorable("the token cannot be written as JSON"))?;
        // Reading the record back checks every limit of `from_record`, also one that is added later.
        Self::from_record(record.expose()).map_err(|error| {
            StorageError::unstorable(format!("the token's record could not be read back: {error}"))
        })?;
        Ok(record)
    }

    /// Parses a record that [`to_record`](Self::to_record) or the Python library has written. Every field but
    /// `access_token` may be missing or null, timestamps may have an offset, and unknown fields are ignored,
    /// since a later version may add some. If `issued_at` is missing, a manager keeps the full
    /// [margin](Self::usable_until) before the expiry.
    ///
    /// # Errors
    ///
    /// The text is not a valid record, or is longer than [`MAX_RECORD_LENGTH`](Self::MAX_RECORD_LENGTH). A
    /// storage should treat it as a miss.
    pub fn from_record(record: impl AsRef<[u8]>) -> Result<Self, InvalidTokenRecord> {
        let record = record.as_ref();
        if record.len() > Self::MAX_RECORD_LENGTH {
            return Err(InvalidTokenRecord::new(WHOLE_RECORD, "at most 1 MiB"));
        }
        // The parser's error may quote the text, and so a secret.
        let parsed: Result<Map<String, Value>, _> = serde_json::from_slice(record);
        let fields = parsed
            .map_err(|_| InvalidTokenRecord::new(WHOLE_RECORD, "a JSON object, nested at most 127 deep"))?;
        // `Extra` overwrites on drop the fields that are not taken out of it.
        let mut fields = Extra(fields);
        if members(record) > fields.0.len().max(1) {
            return Err(InvalidTokenRecord::new(WHOLE_RECORD, "each field once"));
        }
        let mut token = match text(&mut fields.0, "access_token")? {
            Some(access_token) if !access_token.is_empty() => Self::new(access_token),
            _ => return Err(InvalidTokenRecord::new("access_token", "a token")),
        };
        if let Some(token_type) = text(&mut fields.0, "token_type")? {
            token = token.with_token_type(token_type);
        }
        if let Some(expires_at) = text(&mut fields.0, "expires_at")? {
            let expires_at = parse(expires_at);
            token = token
                .with_expires_at(expires_at.ok_or(InvalidTokenRecord::new("expires_at", "a date and time"))?);
        }
        if let Some(refresh_token) = text(&mut fields.0, "refresh_token")? {
            token = token.with_refresh_token(refresh_token);
        }
        if let Some(scope) = text(&mut fields.0, "scope")? {
            token = token.with_scope(scope);
        }
        match fields.0.remove("extra") {
            None | Some(Value::Null) => {}
            Some(Value::Object(extra)) => token = token.with_extra(extra),
            Some(mut other) => {
                wipe(&mut other);
                return Err(InvalidTokenRecord::new("extra", "an object"));
            }
        }
        // An invalid `issued_at` is ignored: the Python library does not know this field, and another writer may mean
        // something else by it.
        let issued_at = fields.0.get("issued_at").and_then(Value::as_str).and_then(parse);
        Ok(match issued_at {
            Some(issued_at) => token.with_issued_at(issued_at),
            None => token,
        })
    }

    /// Writes the fields in the order of the Python library.
    fn write(&self) -> Option<Secret> {
        let texts = [Some(self.access_token()), self.refresh_token(), self.scope(), Some(self.token_type())];
        let length: usize = texts.into_iter().flatten().map(str::len).sum();
        // Reserve enough for most tokens: a reallocation would leave a copy of the secrets in freed memory.
        let mut json = Zeroizing::new(Vec::with_capacity(2 * length + 512));
        let moment = |at: Option<DateTime<Utc>>| at.map(format);
        for (name, value) in [
            ("{\"access_token\":", Some(self.access_token())),
            (",\"token_type\":", Some(self.token_type())),
            (",\"expires_at\":", moment(self.expires_at()).as_deref()),
            (",\"refresh_token\":", self.refresh_token()),
            (",\"scope\":", self.scope()),
        ] {
            json.extend_from_slice(name.as_bytes());
            serde_json::to_writer(&mut *json, &value).ok()?;
        }
        json.extend_from_slice(b",\"extra\":");
        serde_json::to_writer(&mut *json, self.extra()).ok()?;
        if let Some(issued_at) = moment(self.issued_at()) {
            json.extend_from_slice(b",\"issued_at\":");
            serde_json::to_writer(&mut *json, &issued_at).ok()?;
        }
        json.push(b'}');
        String::from_utf8(std::mem::take(&mut *json)).ok().map(Secret::from)
    }
}

fn text(fields: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, InvalidTokenRecord> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(mut other) => {
            wipe(&mut other);
            Err(InvalidTokenRecord::new(name, "a string"))
        }
    }
}

/// The number of members in the text of a JSON object. Attack: of two members with the same name the parser keeps only the
/// last, so a record could show different tokens to different parsers.
fn members(object: &[u8]) -> usize {
    let (mut depth, mut commas, mut is_text, mut is_escaped) = (0, 0, false, false);
    for byte in object {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 1 => commas += 1,
            _ => {}
        }
    }
    commas + 1
}

/// The time in UTC with six fractional digits and without an offset, as Python's `isoformat` writes it. Times after the
/// year 9999 or before the year 1, which Python does not know, become the last or the first one that it knows.
fn format(moment: DateTime<Utc>) -> String {
    let last =
        NaiveDate::from_ymd_opt(9999, 12, 31).and_then(|day| day.and_hms_micro_opt(23, 59, 59, 999_999));
    let first = NaiveDate::from_ymd_opt(1, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
    let mut naive = moment.naive_utc();
    naive = last.map_or(naive, |last| naive.min(last));
    naive = first.map_or(naive, |first| naive.max(first));
    naive.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// Parses a time. A text without an offset is UTC.
fn parse(text: impl AsRef<str>) -> Option<DateTime<Utc>> {
    let text = text.as_ref();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.with_timezone(&Utc));
    }
    let naive = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let naive = naive("%Y-%m-%dT%H:%M:%S%.f").or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"))?;
    Some(naive.and_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn round_trip(token: &TokenData) -> TokenData {
        TokenData::from_record(token.to_record().unwrap().expose()).unwrap()
    }

    fn nested(depth: usize) -> TokenData {
        let value = (1..depth).fold(json!([]), |inner, _| json!([inner]));
        TokenData::new("t").with_extra([("x".to_owned(), value)].into_iter().collect())
    }

    #[test]
    fn the_record_is_what_the_documents_class_reads_and_when_it_was_issued_if_that_is_known() {
        let at = |text| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let token = TokenData::new("abc").with_expires_at(at("2026-11-21T23:02:08.592503Z"));
        let expected = r#"{"access_token":"abc","token_type":"Bearer","expires_at":"2026-11-21T23:02:08.592503","refresh_token":null,"scope":null,"extra":{}}"#;
        assert_eq!(token.to_record().unwrap().expose(), expected);
        let token = token.with_issued_at(at("2026-11-21T22:02:08Z"));
        let more = r#""extra":{},"issued_at":"2026-11-21T22:02:08.000000"}"#;
        assert_eq!(token.to_record().unwrap().expose(), expected.replace(r#""extra":{}}"#, more));
        assert_eq!(round_trip(&token).issued_at(), token.issued_at());
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn what_is_written_is_read_back() {
        for token in crate::storage_conformance::sample_tokens() {
            assert_eq!(round_trip(&token), token);
        }
    }

    #[test]
    fn inv20_what_could_not_be_read_back_is_not_written() {
        assert_eq!(round_trip(&nested(125)), nested(125));
        let long = |length: usize| TokenData::new("x".repeat(length));
        let around = long(0).write().unwrap().expose().len();
        assert!(long(TokenData::MAX_RECORD_LENGTH - around).to_record().is_ok());
        for token in [
            nested(126),
            nested(127),
            nested(500),
            long(TokenData::MAX_RECORD_LENGTH - around + 1),
            TokenData::new(""),
        ] {
            let error = token.to_record().unwrap_err();
            assert!(error.is_unstorable() && error.is_unsent(), "{error}");
            assert!(TokenData::from_record(token.write().unwrap().expose()).is_err());
        }
    }

    #[test]
    fn dates_are_naive_utc_with_six_digits_in_years_that_python_knows() {
        assert_eq!(format(DateTime::from_timestamp(0, 0).unwrap()), "1970-01-01T00:00:00.000000");
        assert_eq!(format(DateTime::<Utc>::MAX_UTC), "9999-12-31T23:59:59.999999");
        assert_eq!(format(DateTime::<Utc>::MIN_UTC), "0001-01-01T00:00:00.000000");
        let noon = DateTime::from_timestamp(1_763_726_400, 0).unwrap();
        for text in [
            "2025-11-21T12:00:00",
            "2025-11-21T12:00:00.000",
            "2025-11-21 12:00:00.000000",
            "2025-11-21T12:00:00Z",
            "2025-11-21T13:30:00+01:30",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        for text in ["", "soon", "2025-11-21", "2025-13-21T12:00:00", "1763726400"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn inv20_optional_fields_may_be_missing_or_null_and_there_may_be_more() {
        let null = json!({"access_token": "t", "token_type": null, "expires_at": null, "refresh_token": null,
            "scope": null, "extra": null, "issued_at": null, "tomorrow": [1, {"a": "\\\",", "b": 2}]});
        for record in [json!({"access_token": "t"}), null] {
            assert_eq!(TokenData::from_record(record.to_string()), Ok(TokenData::new("t")));
        }
        for issued_at in [json!(7), json!("soon"), json!({})] {
            let record = json!({"access_token": "t", "issued_at": issued_at}).to_string();
            assert_eq!(TokenData::from_record(record).unwrap().issued_at(), None);
        }
    }

    #[test]
    fn inv20_what_is_no_record_is_said_to_be_none_without_its_content() {
        let records: [&[u8]; 16] = [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"\"canary\"",
            br#"{"access_token":"canary"#,
            br#"{"access_token":7}"#,
            br#"{"access_token":""}"#,
            br#"{"access_token":"canary","access_token":"canary"}"#,
            br#"{"access_token":"canary", "access_t\u006fken":"canary"}"#,
            br#"{"access_token":"canary","scope":["canary"]}"#,
            br#"{"access_token":"canary","extra":{"x":NaN}}"#,
            br#"{"access_token":"canary","extra":["canary"]}"#,
            br#"{"access_token":"\ud800"}"#,
            br#"{"access_token":"canary","expires_at":"canary"}"#,
            b"\xff\xfe",
        ];
        for record in records {
            let error = TokenData::from_record(record).unwrap_err();
            assert!(!error.field().is_empty());
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }
}
