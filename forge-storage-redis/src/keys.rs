use std::fmt::Write;

use crc::{CRC_16_XMODEM, Crc};
use forge_core::StorageError;
use sha2::{Digest, Sha256};

/// The keys of one token. Those at its side have its key as hash tag, so that all are in one slot of a
/// cluster.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) token: String,
    pub(crate) meta: String,
    pub(crate) lease: String,
    pub(crate) cool_down: String,
    /// Another one after each invalidation.
    pub(crate) epoch: String,
    /// Names the key in announcements.
    pub(crate) hash: String,
}

impl Keys {
    /// The keys for `key` with this prefix.
    ///
    /// # Errors
    ///
    /// The key has a brace.
    pub(crate) fn new(prefix: &str, key: &str) -> Result<Self, StorageError> {
        check(key).map_err(|expected| StorageError::new(format!("the key must have {expected}")))?;
        let token = format!("{prefix}:{key}");
        let at_its_side = |name: &str| format!("{{{token}}}:{name}");
        Ok(Self {
            meta: at_its_side("meta"),
            lease: at_its_side("lease"),
            cool_down: at_its_side("cool-down"),
            epoch: at_its_side("epoch"),
            hash: hash(&token),
            token,
        })
    }

    /// Of a cluster, all of them.
    pub(crate) fn slot(&self) -> u16 {
        SLOT.checksum(self.token.as_bytes()) % SLOTS
    }
}

/// The redis crate has this only together with its cluster client.
const SLOT: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
const SLOTS: u16 = 16_384;

/// Refuses what would end the hash tag of the keys at a token's side.
pub(crate) fn check(part: &str) -> Result<(), &'static str> {
    if part.contains(['{', '}']) { Err("no `{` and no `}`") } else { Ok(()) }
}

fn hash(key: &str) -> String {
    let mut hash = String::with_capacity(32);
    for byte in Sha256::digest(key.as_bytes()).iter().take(16) {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_has_the_documents_key_and_the_others_stand_at_its_side() {
        let keys = Keys::new("token", "auth_token:crm").unwrap();
        assert_eq!(keys.token, "token:auth_token:crm");
        assert_eq!(keys.meta, "{token:auth_token:crm}:meta");
        assert_eq!(keys.lease, "{token:auth_token:crm}:lease");
        assert_eq!(keys.cool_down, "{token:auth_token:crm}:cool-down");
        assert_eq!(keys.hash.len(), 32);
    }

    #[test]
    fn all_are_in_the_slot_of_the_token() {
        // As a server says: `CLUSTER KEYSLOT token:auth_token:crm`, and of "123456789" in the specification.
        assert_eq!(SLOT.checksum(b"123456789"), 0x31C3);
        assert_eq!(Keys::new("token", "auth_token:crm").unwrap().slot(), 2686);
    }

    #[test]
    fn braces_are_refused() {
        assert!(Keys::new("token", "a{b").is_err() && Keys::new("token", "a}b").is_err());
    }
}
