//! For authors of storages: the capabilities that a [`TokenStorage`](crate::TokenStorage) may offer beyond its four
//! methods, and the builders of the storages here.
//!
//! A storage without capabilities works. [`TokenLeases`] lets one process at a time fetch, [`CompareAndDelete`]
//! removes a rejected token and nothing newer, and [`Generations`] announces changes, so that hits need no read.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::Mutex;
//! use requestforge::{StorageError, TokenData, TokenStorage, async_trait};
//!
//! #[derive(Debug, Default)]
//! struct MyStorage(Mutex<HashMap<String, TokenData>>);
//!
//! #[async_trait]
//! impl TokenStorage for MyStorage {
//!     async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
//!         let tokens = self.0.lock().map_err(|_| StorageError::new("the lock is poisoned"))?;
//!         Ok(tokens.get(key).cloned())
//!     }
//!
//!     async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
//!         let mut tokens = self.0.lock().map_err(|_| StorageError::new("the lock is poisoned"))?;
//!         tokens.insert(key.to_owned(), token.clone());
//!         Ok(())
//!     }
//!
//!     async fn delete(&self, key: &str) -> Result<(), StorageError> {
//!         let mut tokens = self.0.lock().map_err(|_| StorageError::new("the lock is poisoned"))?;
//!         tokens.remove(key);
//!         Ok(())
//!     }
//!
//!     async fn exists(&self, key: &str) -> Result<bool, StorageError> {
//!         Ok(self.get(key).await?.is_some())
//!     }
//! }
//! # drop(MyStorage::default());
//! ```

pub use forge_core::{
    CompareAndDelete, CoolDown, CoolDownPolicy, Generation, GenerationId, GenerationStamp, Generations,
    InvalidTokenRecord, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, StalenessLimits, TokenId,
    TokenLease, TokenLeases,
};

#[cfg(feature = "encryption")]
pub use forge_storage_encrypted::EncryptedTokenStorageBuilder;
#[cfg(feature = "storage-memory")]
pub use forge_storage_memory::InMemoryTokenStorageBuilder;
#[cfg(feature = "storage-redis")]
pub use forge_storage_redis::RedisTokenStorageBuilder;
