//! The stored record: exactly the six fields that the documents' own class reads and writes.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use forge_core::TokenData;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

#[derive(Serialize)]
struct Written<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_at: Option<String>,
    refresh_token: Option<&'a str>,
    scope: Option<&'a str>,
    extra: &'a Map<String, Value>,
}

/// What may be missing or null is optional, and what is not known is let pass: the next version may
/// have more.
#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    token_type: Option<String>,
    expires_at: Option<String>,
    refresh_token: Option<String>,
    scope: Option<String>,
    extra: Option<Map<String, Value>>,
}

/// A value under a token's key that is no record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// The record of a token that expires at this moment, by the server's clock.
pub(crate) fn write(
    token: &TokenData,
    expires_at: Option<DateTime<Utc>>,
) -> Result<Zeroizing<String>, serde_json::Error> {
    let written = Written {
        access_token: token.access_token(),
        token_type: token.token_type(),
        expires_at: expires_at.map(format),
        refresh_token: token.refresh_token(),
        scope: token.scope(),
        extra: token.extra(),
    };
    serde_json::to_string(&written).map(Zeroizing::new)
}

/// The token of a record. Its expiry is by the server's clock.
pub(crate) fn read(record: &[u8]) -> Result<TokenData, Unreadable> {
    // The parser's own words may quote what it found.
    let read: Read<'_> = serde_json::from_slice(record).map_err(|_| Unreadable("no record of a token"))?;
    if read.access_token.is_empty() {
        return Err(Unreadable("an empty token"));
    }
    let mut token = TokenData::new(read.access_token.into_owned());
    if let Some(expires_at) = read.expires_at {
        token = token.with_expires_at(parse(&expires_at).ok_or(Unreadable("an expiry that is no date"))?);
    }
    if let Some(token_type) = read.token_type {
        token = token.with_token_type(token_type);
    }
    if let Some(refresh_token) = read.refresh_token {
        token = token.with_refresh_token(refresh_token);
    }
    if let Some(scope) = read.scope {
        token = token.with_scope(scope);
    }
    Ok(token.with_extra(read.extra.unwrap_or_default()))
}

/// Naive UTC with six digits, as Python's `isoformat` has it; Python's years end with 9999.
fn format(moment: DateTime<Utc>) -> String {
    let last =
        NaiveDate::from_ymd_opt(9999, 12, 31).and_then(|day| day.and_hms_micro_opt(23, 59, 59, 999_999));
    let first = NaiveDate::from_ymd_opt(1, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
    let mut naive = moment.naive_utc();
    naive = last.map_or(naive, |last| naive.min(last));
    naive = first.map_or(naive, |first| naive.max(first));
    naive.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// Naive is UTC; an offset is honoured.
fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.with_timezone(&Utc));
    }
    let naive = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let naive = naive("%Y-%m-%dT%H:%M:%S%.f").or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"))?;
    Some(naive.and_utc())
}

#[cfg(test)]
mod tests {
    use forge_core::storage_conformance::sample_tokens;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_record_is_what_the_documents_class_reads() {
        let at = DateTime::parse_from_rfc3339("2026-11-21T23:02:08.592503Z").unwrap().with_timezone(&Utc);
        let record = write(&TokenData::new("abc"), Some(at)).unwrap();
        let expected = r#"{"access_token":"abc","token_type":"Bearer","expires_at":"2026-11-21T23:02:08.592503","refresh_token":null,"scope":null,"extra":{}}"#;
        assert_eq!(*record, expected);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for token in sample_tokens() {
            let record = write(&token, token.expires_at()).unwrap();
            assert_eq!(read(record.as_bytes()).unwrap(), token);
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
            "scope": null, "extra": null, "tomorrow": [1]});
        for record in [json!({"access_token": "t"}), null] {
            assert_eq!(read(record.to_string().as_bytes()), Ok(TokenData::new("t")));
        }
    }

    #[test]
    fn inv20_what_is_no_record_is_said_to_be_none_without_its_content() {
        let records: [&[u8]; 12] = [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"\"canary\"",
            br#"{"access_token":"canary"#,
            br#"{"access_token":7}"#,
            br#"{"access_token":""}"#,
            br#"{"access_token":"canary","extra":{"x":NaN}}"#,
            br#"{"access_token":"\ud800"}"#,
            br#"{"access_token":"canary","expires_at":"canary"}"#,
            b"\xff\xfe",
        ];
        for record in records {
            let error = read(record).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}
