//! Storages that other code writes to, or that fail.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_core::{CompareAndDelete, Generation, StorageError, TokenData, TokenStorage, async_trait};
use forge_storage_memory::InMemoryTokenStorage;

/// A storage in which another user stores a token right after each read.
#[derive(Debug)]
pub(crate) struct OvertakenStorage(pub(crate) InMemoryTokenStorage);

#[async_trait]
impl TokenStorage for OvertakenStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        let read = self.0.get(key).await;
        self.0.set(key, &TokenData::new("somebody else's")).await?;
        read
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.0.set(key, token).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        self.0.exists(key).await
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        self.0.generation(key)
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        self.0.compare_and_delete()
    }
}

/// The documents' storage: four methods and no capability.
#[derive(Debug, Default)]
pub(crate) struct PlainStorage {
    pub(crate) tokens: Mutex<HashMap<String, TokenData>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) broken: bool,
    pub(crate) unwritable: bool,
    pub(crate) unreadable: bool,
}

impl PlainStorage {
    pub(crate) fn check(&self, is_defect: bool) -> Result<(), StorageError> {
        if self.broken || is_defect { Err(StorageError::new("out of order")) } else { Ok(()) }
    }
}

#[async_trait]
impl TokenStorage for PlainStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        self.check(self.unreadable)?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.tokens.lock().expect("unpoisoned").get(key).cloned())
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.check(self.unwritable)?;
        self.tokens.lock().expect("unpoisoned").insert(key.to_owned(), token.clone());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.check(false)?;
        self.tokens.lock().expect("unpoisoned").remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        self.check(self.unreadable)?;
        Ok(self.tokens.lock().expect("unpoisoned").contains_key(key))
    }
}
