//! The record for the inner storage: one encrypted text with all secrets of a token, in the place of the access token.

use forge_core::{StorageError, TokenData};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::keyring::{DecryptionFailure, Keyring};

/// The placeholder for a refresh token: a storage keeps a record longer if it has one.
const REFRESH_TOKEN_PLACEHOLDER: &str = "sealed";
/// The fields in which issuers state the lifetime of a refresh token in seconds. Storages read them.
const REFRESH_TOKEN_LIFETIMES: [&str; 2] = ["refresh_expires_in", "refresh_token_expires_in"];

/// Seals a token for the inner storage, which keeps the record as long as it would keep the token.
///
/// # Errors
///
/// The token cannot be encrypted, or its record could not be read back.
pub(crate) fn seal(keys: &Keyring, cache_key: &str, token: &TokenData) -> Result<TokenData, StorageError> {
    let plain = token.clone().without_times().to_record()?;
    let plain = Zeroizing::new(plain.expose().as_bytes().to_vec());
    let sealed = TokenData::new(keys.seal(cache_key, plain)?);
    let sealed = with_times_of(token, sealed);
    if token.refresh_token().is_none() {
        return Ok(sealed);
    }
    Ok(sealed.with_refresh_token(REFRESH_TOKEN_PLACEHOLDER).with_extra(lifetimes(token)))
}

/// Opens a record. The token gets the record's times, because the storage may have translated them to its own clock.
pub(crate) fn open(
    keys: &Keyring,
    cache_key: &str,
    record: &TokenData,
) -> Result<TokenData, DecryptionFailure> {
    let plain = keys.open(cache_key, record.access_token())?;
    let token = TokenData::from_record(&*plain)
        .map_err(|_| DecryptionFailure("the decrypted text is not a token"))?;
    Ok(with_times_of(record, token.without_times()))
}

fn with_times_of(from: &TokenData, mut to: TokenData) -> TokenData {
    if let Some(expires_at) = from.expires_at() {
        to = to.with_expires_at(expires_at);
    }
    if let Some(issued_at) = from.issued_at() {
        to = to.with_issued_at(issued_at);
    }
    to
}

/// Copies the lifetimes that are numbers. Any other value is useless to a storage, and may be a secret.
fn lifetimes(token: &TokenData) -> Map<String, Value> {
    let stated = |name: &str| Some((name.to_owned(), Value::from(token.extra().get(name)?.as_u64()?)));
    REFRESH_TOKEN_LIFETIMES.into_iter().filter_map(stated).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use forge_core::storage_conformance::sample_tokens;
    use serde_json::json;

    use super::*;
    use crate::EncryptionKey;

    fn keys() -> Keyring {
        Keyring { writing: EncryptionKey::from_bytes("k", &[1; 32]).unwrap(), reading: Vec::new() }
    }

    fn extra(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn what_is_sealed_is_opened_whole() {
        for token in sample_tokens() {
            let token = token.with_issued_at(Utc::now());
            let record = seal(&keys(), "crm", &token).unwrap();
            assert!(record.is_sealed());
            let opened = open(&keys(), "crm", &record).unwrap();
            assert!(!opened.is_sealed());
            assert_eq!(opened, token);
            assert_eq!(opened.issued_at(), token.issued_at());
        }
    }

    #[test]
    fn inv10_the_times_of_the_record_count() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let token = TokenData::new("t").with_issued_at(at(0)).with_expires_at(at(60));
        let record = seal(&keys(), "crm", &token).unwrap();
        assert_eq!((record.issued_at(), record.expires_at()), (Some(at(0)), Some(at(60))));
        let shifted = record.with_issued_at(at(7)).with_expires_at(at(67));
        let opened = open(&keys(), "crm", &shifted).unwrap();
        assert_eq!((opened.issued_at(), opened.expires_at()), (Some(at(7)), Some(at(67))));
    }

    #[test]
    fn inv09_a_record_is_kept_as_long_as_its_token() {
        let now = Utc::now();
        let extras = [
            json!({}),
            json!({"refresh_expires_in": 7200}),
            json!({"refresh_expires_in": "7200", "refresh_token_expires_in": 10}),
            json!({"refresh_expires_in": 0, "refresh_token_expires_in": 90_000}),
            json!({"refresh_expires_in": -5, "refresh_token_expires_in": u64::MAX}),
            json!({"refresh_expires_in": 1.5, "refresh_token_expires_in": null}),
        ];
        for value in extras {
            for expires_in in [None, Some(-60), Some(60), Some(100_000)] {
                for refresh_token in [None, Some("r")] {
                    let mut token = TokenData::new("t").with_extra(extra(&value));
                    if let Some(seconds) = expires_in {
                        token = token.with_expires_at(now + chrono::TimeDelta::seconds(seconds));
                    }
                    if let Some(refresh_token) = refresh_token {
                        token = token.with_refresh_token(refresh_token);
                    }
                    let record = seal(&keys(), "crm", &token).unwrap();
                    assert_eq!(record.kept_until(now), token.kept_until(now), "{value} {expires_in:?}");
                    assert_eq!(record.refresh_token().is_some(), refresh_token.is_some());
                }
            }
        }
    }

    #[test]
    fn inv16_of_the_rest_nothing_is_in_the_clear() {
        let token = TokenData::new("canary")
            .with_token_type("canary")
            .with_refresh_token("canary")
            .with_scope("canary")
            .with_extra(extra(&json!({"canary": "canary"})));
        let record = seal(&keys(), "crm", &token).unwrap();
        let bare = TokenData::new(record.access_token()).with_refresh_token("sealed");
        assert_eq!(record, bare);
        assert!(!record.access_token().contains("canary"));
    }

    #[test]
    fn inv16_only_numbers_that_say_how_long_to_keep_it_are_in_the_clear() {
        let clear = |value: Value| {
            let token = TokenData::new("t").with_refresh_token("r").with_extra(extra(&value));
            Value::from(seal(&keys(), "crm", &token).unwrap().extra().clone())
        };
        assert_eq!(clear(json!({"refresh_expires_in": "canary", "other": 7})), json!({}));
        assert_eq!(clear(json!({"refresh_expires_in": {"canary": 1}})), json!({}));
        assert_eq!(clear(json!({"refresh_expires_in": 7})), json!({"refresh_expires_in": 7}));
        let none = TokenData::new("t").with_extra(extra(&json!({"refresh_expires_in": 7})));
        assert!(seal(&keys(), "crm", &none).unwrap().extra().is_empty(), "of no use without a refresh token");
    }

    #[test]
    fn inv20_records_of_other_versions_are_read_and_others_are_none() {
        let record =
            |plain: &[u8]| TokenData::new(keys().seal("crm", Zeroizing::new(plain.to_vec())).unwrap());
        let next = record(br#"{"access_token":"t","token_type":null,"tomorrow":[1]}"#);
        assert_eq!(open(&keys(), "crm", &next), Ok(TokenData::new("t")));
        for plain in
            [&b""[..], b"null", b"{}", br#"{"access_token":7}"#, br#"{"access_token":"canary"#, b"\xff"]
        {
            let error = open(&keys(), "crm", &record(plain)).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}
