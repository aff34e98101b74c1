//! Keys, storages, and tokens to put into them.

use std::collections::HashMap;
use std::sync::Mutex;

use forge_core::{ConfigError, StorageError, TokenData, TokenStorage, async_trait};
use forge_storage_encrypted::{EncryptedTokenStorage, EncryptionKey};

/// A key whose bytes depend only on the id, so that processes with the same id have the same key.
pub(crate) fn key(id: &str) -> EncryptionKey {
    let mut bytes = [0x5a; EncryptionKey::LENGTH];
    bytes[..id.len()].copy_from_slice(id.as_bytes());
    EncryptionKey::from_bytes(id, &bytes).expect("a key")
}

/// The storage of a process that writes with one key and also reads with others.
pub(crate) fn storage(
    inner: &(impl TokenStorage + Clone + 'static),
    writing: &str,
    reading: &[&str],
) -> EncryptedTokenStorage {
    let builder = EncryptedTokenStorage::builder(inner.clone(), key(writing));
    reading.iter().fold(builder, |builder, id| builder.reading_key(key(id))).build().expect("a storage")
}

pub(crate) async fn get(storage: &impl TokenStorage, key: &str) -> Option<TokenData> {
    storage.get(key).await.expect("an answer")
}

pub(crate) async fn set(storage: &impl TokenStorage, key: &str, token: &TokenData) {
    storage.set(key, token).await.expect("it is stored");
}

/// The documents' four methods, and no capability. Takes lower-case keys only.
#[derive(Debug, Default)]
pub(crate) struct Bare(Mutex<HashMap<String, TokenData>>);

#[async_trait]
impl TokenStorage for Bare {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(self.0.lock().expect("unpoisoned").get(key).cloned())
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.0.lock().expect("unpoisoned").insert(key.to_owned(), token.clone());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.lock().expect("unpoisoned").remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.0.lock().expect("unpoisoned").contains_key(key))
    }

    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        let is_fine = !key.contains(char::is_uppercase);
        is_fine.then_some(()).ok_or_else(|| ConfigError::new("cache_key", "lower case"))
    }
}
