//! A storage that counts its reads, and that is slow to delete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use forge_core::{CompareAndDelete, Generation, StorageError, TokenData, TokenId, TokenStorage, async_trait};
use forge_storage_memory::InMemoryTokenStorage;

#[derive(Clone, Debug)]
pub(crate) struct CountingStorage {
    inner: InMemoryTokenStorage,
    announces: bool,
    reads: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
}

impl CountingStorage {
    pub(crate) fn new() -> Self {
        let inner = InMemoryTokenStorage::new();
        Self { inner, announces: true, reads: Arc::default(), refuses: Arc::default() }
    }

    pub(crate) fn without_announcements() -> Self {
        Self { announces: false, ..Self::new() }
    }

    /// The number of reads since the last call of this method.
    pub(crate) fn reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }

    /// From now on every deletion fails.
    pub(crate) fn refuse_to_delete(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    async fn before_deleting(&self) -> Result<(), StorageError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(StorageError::new("it is told to refuse"));
        }
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[async_trait]
impl TokenStorage for CountingStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key).await
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.inner.set(key, token).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.before_deleting().await?;
        self.inner.delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        self.inner.exists(key).await
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        self.announces.then(|| self.inner.generation(key))?
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        Some(self)
    }
}

#[async_trait]
impl CompareAndDelete for CountingStorage {
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        self.before_deleting().await?;
        self.inner.delete_if(key, id).await
    }
}
