//! Sealing and opening texts: XChaCha20-Poly1305 with a random nonce.

use std::fmt;
use std::iter;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{AeadInOut, Generate};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use forge_core::StorageError;
use zeroize::Zeroizing;

use crate::EncryptionKey;

/// The keys: the first one encrypts, all decrypt.
pub(crate) struct Keyring {
    pub(crate) writing: EncryptionKey,
    pub(crate) reading: Vec<EncryptionKey>,
}

/// The reason why a text could not be decrypted, without its content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DecryptionFailure(pub(crate) &'static str);

/// The first part of a sealed text. The key's id follows, then nonce and ciphertext in base64, separated by dots.
const VERSION: &str = "sealed1";
const NONCE_LENGTH: usize = 24;

impl Keyring {
    /// Encrypts a text, bound to this cache key. The result differs each time.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub(crate) fn seal(
        &self,
        cache_key: &str,
        mut plain: Zeroizing<Vec<u8>>,
    ) -> Result<String, StorageError> {
        let key = &self.writing;
        let nonce = XNonce::try_generate()
            .map_err(|error| failed("the operating system has no random numbers").with_source(error))?;
        cipher(key)
            .encrypt_in_place(&nonce, &associated_data(key.id(), cache_key), &mut *plain)
            .map_err(|_| failed("the token cannot be encrypted"))?;
        let mut sealed = format!("{VERSION}.{}.", key.id());
        URL_SAFE_NO_PAD.encode_string([nonce.as_slice(), &plain].concat(), &mut sealed);
        Ok(sealed)
    }

    /// Decrypts a text that was sealed for this cache key.
    ///
    /// # Errors
    ///
    /// The text was not sealed for this cache key, it was changed since, or its encryption key is missing.
    pub(crate) fn open(
        &self,
        cache_key: &str,
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptionFailure> {
        let rest = sealed.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.'));
        let (id, encoded) = rest
            .and_then(|rest| rest.split_once('.'))
            .ok_or(DecryptionFailure("it is not encrypted, or has the format of another version"))?;
        let key = self
            .all()
            .find(|key| key.id() == id)
            .ok_or(DecryptionFailure("no configured key has its key id"))?;
        let mut nonce =
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| DecryptionFailure("it is not valid base64"))?;
        if nonce.len() < NONCE_LENGTH {
            return Err(DecryptionFailure("it is too short"));
        }
        let mut text = Zeroizing::new(nonce.split_off(NONCE_LENGTH));
        let nonce = XNonce::try_from(nonce.as_slice()).map_err(|_| DecryptionFailure("it is too short"))?;
        cipher(key).decrypt_in_place(&nonce, &associated_data(id, cache_key), &mut *text).map_err(|_| {
            DecryptionFailure(
                "it was changed or moved, or its key differs from the configured key with the same id",
            )
        })?;
        Ok(text)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &EncryptionKey> {
        iter::once(&self.writing).chain(&self.reading)
    }
}

/// Shows the ids of the keys. The encrypting key comes first.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().map(EncryptionKey::id)).finish()
    }
}

fn cipher(key: &EncryptionKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

/// The associated data: sealing and opening must pass the same. A length precedes each part, so that two different
/// lists of parts never make the same bytes.
fn associated_data(key_id: &str, cache_key: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for part in [VERSION, key_id, cache_key] {
        data.extend_from_slice(&(part.len() as u64).to_le_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

fn failed(what: &str) -> StorageError {
    StorageError::new(what).with_nothing_sent()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, byte: u8) -> EncryptionKey {
        EncryptionKey::from_bytes(id, &[byte; 32]).unwrap()
    }

    fn keyring(writing: EncryptionKey, reading: &[EncryptionKey]) -> Keyring {
        Keyring { writing, reading: reading.to_vec() }
    }

    fn sealed(keyring: &Keyring, cache_key: &str) -> String {
        keyring.seal(cache_key, Zeroizing::new(b"plain".to_vec())).unwrap()
    }

    #[test]
    fn what_is_sealed_can_be_opened_and_never_looks_the_same() {
        let keyring = keyring(key("k1", 1), &[]);
        let (one, other) = (sealed(&keyring, "crm"), sealed(&keyring, "crm"));
        assert!(one.starts_with("sealed1.k1.") && one != other);
        for sealed in [one, other] {
            assert_eq!(**keyring.open("crm", &sealed).unwrap(), *b"plain");
        }
    }

    /// A text that an earlier build of this library has sealed.
    #[test]
    fn inv20_a_text_of_this_version_stays_readable() {
        let old = keyring(key("k1", 1), &[]);
        assert_eq!(**old.open("crm", SEALED_WITH_1).unwrap(), *b"plain");
    }

    const SEALED_WITH_1: &str = "sealed1.k1.8_rWqKSbMqxG3VWsuPPm04QxWMQDtCbGW3tKtSXmZdocz3WCMuXz-4c_t9xn";

    #[test]
    fn a_text_under_another_cache_key_does_not_open() {
        let keyring = keyring(key("k1", 1), &[]);
        let sealed = sealed(&keyring, "crm");
        for other in ["", "crm2", "cr", "CRM", "crm "] {
            assert!(keyring.open(other, &sealed).is_err(), "{other}");
        }
    }

    #[test]
    fn all_keys_read_and_one_writes() {
        let old = keyring(key("k1", 1), &[]);
        let both = keyring(key("k2", 2), &[key("k1", 1)]);
        let new = keyring(key("k2", 2), &[]);
        let by_old = sealed(&old, "crm");
        assert!(both.open("crm", &by_old).is_ok());
        assert_eq!(new.open("crm", &by_old), Err(DecryptionFailure("no configured key has its key id")));
        let by_both = sealed(&both, "crm");
        assert!(new.open("crm", &by_both).is_ok() && old.open("crm", &by_both).is_err());
    }

    #[test]
    fn the_id_is_authentic_too() {
        let by_k1 = sealed(&keyring(key("k1", 1), &[]), "crm");
        let same_bytes = keyring(key("k2", 1), &[key("k1", 1)]);
        assert!(same_bytes.open("crm", &by_k1).is_ok());
        assert!(same_bytes.open("crm", &by_k1.replacen("k1", "k2", 1)).is_err());
    }

    #[test]
    fn inv20_no_change_to_a_text_goes_unnoticed_and_none_panics() {
        let keyring = keyring(key("k1", 1), &[key("k2", 2)]);
        let sealed = sealed(&keyring, "crm");
        for end in 0..sealed.len() {
            assert!(keyring.open("crm", &sealed[..end]).is_err(), "cut at {end}");
        }
        for at in 0..sealed.len() {
            for bit in 0..7 {
                let mut changed = sealed.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let changed = String::from_utf8(changed).unwrap();
                assert!(keyring.open("crm", &changed).is_err(), "bit {bit} at {at}");
            }
        }
        for more in ["", ".", "A", "=", "AAAA", "\0", "ü"] {
            let longer = format!("{sealed}{more}");
            assert_eq!(keyring.open("crm", &longer).is_ok(), more.is_empty(), "{more}");
        }
        for garbage in
            ["", ".", "..", "sealed1", "sealed1.", "sealed1..", "sealed1.k1.", "sealed1.k1.ü", "a.b.c"]
        {
            assert!(keyring.open("crm", garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn parts_of_the_associated_data_cannot_be_shifted() {
        assert_ne!(associated_data("a", "bc"), associated_data("ab", "c"));
        assert_ne!(associated_data("a", ""), associated_data("", "a"));
    }
}
