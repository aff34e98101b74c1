use std::fmt;
use std::sync::Arc;

use forge_core::{ConfigError, TokenStorage};

use crate::keyring::Keyring;
use crate::storage::Inner;
use crate::{EncryptedTokenStorage, EncryptionKey};

/// Settings of an [`EncryptedTokenStorage`].
#[must_use]
pub struct EncryptedTokenStorageBuilder {
    storage: Box<dyn TokenStorage>,
    keys: Keyring,
}

impl EncryptedTokenStorageBuilder {
    pub(crate) fn new(storage: Box<dyn TokenStorage>, writing: EncryptionKey) -> Self {
        Self { storage, keys: Keyring { writing, reading: Vec::new() } }
    }

    /// Adds a key that decrypts but does not encrypt: the previous key, or the next one. Call this once for each key.
    /// Default: none. The encrypting key also decrypts.
    pub fn reading_key(mut self, key: EncryptionKey) -> Self {
        self.keys.reading.push(key);
        self
    }

    /// Builds the storage.
    ///
    /// # Errors
    ///
    /// `reading_key`: two keys have the same id.
    pub fn build(self) -> Result<EncryptedTokenStorage, ConfigError> {
        let mut ids: Vec<_> = self.keys.all().map(EncryptionKey::id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new("reading_key", "a key whose id no other key has"));
        }
        Ok(EncryptedTokenStorage(Arc::new(Inner::new(self.storage, self.keys))))
    }
}

impl fmt::Debug for EncryptedTokenStorageBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedTokenStorageBuilder")
            .field("storage", &self.storage)
            .field("keys", &self.keys)
            .finish()
    }
}
