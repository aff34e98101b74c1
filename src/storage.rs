//! Storages: the ones here, and the capabilities that a [`TokenStorage`](crate::TokenStorage) of your own may offer
//! beyond its four methods.
//!
//! # Redis
//!
//! The documentation of `RedisTokenStorage` states each guarantee and its limit. In short:
//!
//! | | one server | Sentinel | Cluster |
//! | --- | --- | --- | --- |
//! | one token call per expiry | yes; while the server does not answer, one per process | the same; and since replication is asynchronous a failover may lose a token that was just stored: one call more | as with Sentinel |
//! | while a master is down | tokens come from the process or the token endpoint | the same, until another one is promoted | the same, for the tokens that this master had |
//! | invalidations reach all processes | in milliseconds | in milliseconds; one that was missed in a failover, within seconds | as with Sentinel |
//! | a refresh token is sent once | yes | unless a failover loses the mark on it | as with Sentinel |
//!
//! - A Redis that fails stops no program. The storage logs a warning (`tracing`, level WARN), so install a
//!   subscriber.
//! - Users, passwords that rotate and certificates are settings of the builder.
//! - Raise `command_timeout` above its 100 ms if the way to Redis is long, or the machine is crowded.
//! - Processes share refresh tokens too. A process does not send a refresh token that another one may have sent: it
//!   uses the full grant (`refresh_when_contested` changes that).
//! - Let each region have its own Redis: then there is one token call per expiry and region. Never share rotating
//!   refresh tokens across regions: an issuer takes a second use for theft.
//! - The record is the JSON that the documentation of the Python library of the same name proposes, so that
//!   programs of that library can share tokens with yours.
//!
//! # Encryption
//!
//! `EncryptedTokenStorage` goes around any storage and keeps its capabilities:
//!
//! ```
//! # #[cfg(all(feature = "encryption", feature = "storage-redis"))]
//! # fn run(
//! #     provider: requestforge::ClientCredentialsTokenProvider, new: String, old: String,
//! # ) -> Result<(), requestforge::ConfigError> {
//! use requestforge::{EncryptedTokenStorage, EncryptionKey, RedisTokenStorage, TokenManager};
//!
//! let redis = RedisTokenStorage::builder("redis://10.0.0.5:6379/1").key_prefix("encrypted").build()?;
//! // 32 random bytes, as `openssl rand -base64 32` makes them
//! let storage = EncryptedTokenStorage::builder(redis, EncryptionKey::from_base64("2026-11", new)?)
//!     .reading_key(EncryptionKey::from_base64("2026-05", old)?)
//!     .build()?;
//! let manager = TokenManager::builder(provider).storage(storage).build()?;
//! # drop(manager);
//! # Ok(())
//! # }
//! ```
//!
//! One key writes, and others may read. Let a new key read everywhere before it writes anywhere: then no rotation
//! costs a token call. A record that no key opens is a miss. Give encrypted records a prefix of their own. The
//! documentation of `EncryptedTokenStorage` lists all that stays in the clear.
//!
//! # A storage of your own
//!
//! A storage without capabilities works. [`TokenLeases`] lets one process at a time fetch, [`CompareAndDelete`]
//! removes a rejected token and nothing newer, and [`Generations`] announces changes, so that hits need no read. If
//! your storage holds text, [`TokenData::to_record`](crate::TokenData::to_record) returns the text to keep. In its
//! tests `storage_conformance::check(storage, "prefix:").await` (feature `test-util`) tells whether the storage
//! keeps its promises.
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
