use std::fmt;

use sha2::{Digest, Sha256};

/// The identity of an access token: the SHA-256 digest of its value.
///
/// The same token has the same identity in every process, so a shared storage can compare and delete by it. The identity
/// is no secret, but `Debug` does not print it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 32]);

impl TokenId {
    /// The identity of an access token.
    #[must_use]
    pub fn of(access_token: &str) -> Self {
        Self(Sha256::digest(access_token.as_bytes()).into())
    }

    /// The digest, for a storage that stores identities beside its records.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenId(..)")
    }
}
