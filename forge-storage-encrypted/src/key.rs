use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use forge_core::{ConfigError, Secret};
use zeroize::Zeroizing;

/// A key for [`EncryptedTokenStorage`](crate::EncryptedTokenStorage): 32 random bytes, and an id that tells
/// it from others.
///
/// Each record contains the id in plain text, so use a date or a number. No output shows the bytes, and the drop of the key
/// overwrites them in memory.
///
/// ```
/// use requestforge::EncryptionKey;
///
/// // The output of `openssl rand -base64 32`.
/// let key = EncryptionKey::from_base64("2026-11", "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=")?;
/// assert_eq!(key.id(), "2026-11");
/// # Ok::<_, requestforge::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey {
    id: String,
    bytes: Zeroizing<[u8; EncryptionKey::LENGTH]>,
}

impl EncryptionKey {
    /// The number of bytes in a key.
    pub const LENGTH: usize = 32;

    /// A key from its bytes. They must come from a source of random numbers, not from a passphrase.
    ///
    /// # Errors
    ///
    /// `encryption_key_id`: not 1 to 32 of the characters `A-Z a-z 0-9 - _`. `encryption_key`: not 32
    /// bytes.
    pub fn from_bytes(id: impl Into<String>, bytes: &[u8]) -> Result<Self, ConfigError> {
        let id = id.into();
        if !is_id(&id) {
            let expected = format!("1 to {MAX_ID_LENGTH} of the characters A-Z a-z 0-9 - _");
            return Err(ConfigError::new("encryption_key_id", expected));
        }
        let mut key = Self { id, bytes: Zeroizing::default() };
        if bytes.len() != Self::LENGTH {
            return Err(ConfigError::new("encryption_key", format!("{} bytes", Self::LENGTH)));
        }
        key.bytes.copy_from_slice(bytes);
        Ok(key)
    }

    /// A key from text in base64, standard or URL-safe (RFC 4648 4, 5), with padding or without, and with
    /// white space around it.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`](Self::from_bytes). Also: the text is not base64.
    pub fn from_base64(id: impl Into<String>, text: impl Into<Secret>) -> Result<Self, ConfigError> {
        let text = text.into();
        let text = text.expose().trim_ascii();
        let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        // The decoder's error quotes a character of the key, so leave it out.
        let bytes = engine
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| ConfigError::new("encryption_key", format!("{} bytes in base64", Self::LENGTH)))?;
        Self::from_bytes(id, &bytes)
    }

    /// The id by which a record names its key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn bytes(&self) -> &[u8; Self::LENGTH] {
        &self.bytes
    }
}

/// Shorter than a key in base64, so that a key that is passed in the id's place is refused.
const MAX_ID_LENGTH: usize = 32;

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(is_plain)
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;

    use super::*;

    const BYTES: [u8; 32] = [0xfb; 32];

    #[test]
    fn a_key_is_read_from_all_kinds_of_base64() {
        let engines =
            [general_purpose::STANDARD, general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE];
        for engine in engines {
            let text = format!(" {}\r\n", engine.encode(BYTES));
            assert_eq!(EncryptionKey::from_base64("k", text).unwrap().bytes(), &BYTES);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_the_name_of_the_field() {
        for length in [0, 16, 31, 33, 64] {
            let error = EncryptionKey::from_bytes("k", &vec![1; length]).unwrap_err();
            assert_eq!(error.field(), "encryption_key", "{length}");
        }
        for text in ["", "canary", "canary!!", "c2hvcnQ=", "+-+-"] {
            let error = EncryptionKey::from_base64("k", text).unwrap_err();
            assert_eq!(error.field(), "encryption_key", "{text}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        let too_long = "x".repeat(33);
        for id in ["", "a.b", "a b", "ü", "a\n", "a/b", &too_long] {
            let error = EncryptionKey::from_bytes(id, &BYTES).unwrap_err();
            assert_eq!(error.field(), "encryption_key_id", "{id}");
        }
        assert!(EncryptionKey::from_bytes("x".repeat(32), &BYTES).is_ok());
        assert!(EncryptionKey::from_bytes("2026-11_B", &BYTES).is_ok());
    }

    #[test]
    fn inv16_a_key_in_the_place_of_its_id_is_refused_and_not_shown() {
        for engine in [general_purpose::STANDARD, general_purpose::URL_SAFE_NO_PAD] {
            let text = engine.encode(BYTES);
            let error = EncryptionKey::from_base64(text.as_str(), "2026-11").unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&text));
        }
    }

    #[test]
    fn inv16_debug_shows_the_id_only() {
        let key = EncryptionKey::from_bytes("k1", b"canary-canary-canary-canary-cana").unwrap();
        for shown in [format!("{key:?}"), format!("{key:#?}").replace(char::is_whitespace, "")] {
            assert!(shown.contains("k1"));
            assert!(!shown.contains("canary") && !shown.contains("99"), "{shown}");
        }
    }
}
