#[cfg(feature = "test-util")]
pub mod conformance;
mod generation;
mod lease;

use std::sync::Arc;

use async_trait::async_trait;

pub use generation::{Generation, GenerationId, GenerationStamp, Generations, StalenessLimits};
pub use lease::{
    CoolDown, CoolDownPolicy, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, TokenLease, TokenLeases,
};

use crate::{ConfigError, StorageError, TokenData, TokenId};

/// Where tokens are kept: in the process, or shared between processes.
///
/// Four methods make a storage. The others return capabilities, none by default, that let a
/// manager do better: answer hits without asking the storage ([`generation`](Self::generation)),
/// take a rejected token away without a race ([`compare_and_delete`](Self::compare_and_delete)), let
/// only one of several managers fetch ([`leases`](Self::leases)). A wrapper around a storage
/// forwards them.
///
/// A storage need not judge expiry: managers do. It may drop a token that nobody can use any more.
///
/// Check an implementation of your own with `storage_conformance::check` (feature `test-util`).
///
/// If your storage holds text, as a database column or a file does, store the token's
/// [record](TokenData::to_record):
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
/// use forge_core::{Secret, StorageError, TokenData, TokenStorage, async_trait};
///
/// #[derive(Debug, Default)]
/// struct Table(Mutex<HashMap<String, Secret>>);
///
/// #[async_trait]
/// impl TokenStorage for Table {
///     async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
///         let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         // A text that is not a valid record counts as a miss.
///         Ok(table.get(key).and_then(|record| TokenData::from_record(record.expose()).ok()))
///     }
///
///     async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
///         let record = token.to_record()?;
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), record);
///         Ok(())
///     }
///
///     async fn delete(&self, key: &str) -> Result<(), StorageError> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
///         Ok(())
///     }
///
///     async fn exists(&self, key: &str) -> Result<bool, StorageError> {
///         Ok(self.get(key).await?.is_some())
///     }
/// }
/// ```
#[async_trait]
pub trait TokenStorage: Send + Sync + std::fmt::Debug {
    /// The token under a key.
    ///
    /// # Errors
    ///
    /// The storage could not be asked. A value that cannot be read is a miss, no error.
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError>;

    /// Keeps a token, replacing another.
    ///
    /// # Errors
    ///
    /// The write failed, or the token is [unstorable](StorageError::is_unstorable).
    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError>;

    /// Deletes a token; it is no error if there is none. In a storage with [`leases`](Self::leases) a lease
    /// that was acquired before the deletion must not store a token after it.
    ///
    /// # Errors
    ///
    /// The storage could not be told.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// Whether there is a token under a key.
    ///
    /// # Errors
    ///
    /// The storage could not be asked.
    async fn exists(&self, key: &str) -> Result<bool, StorageError>;

    /// Whether tokens can be kept under this key. A manager asks when it is built.
    ///
    /// # Errors
    ///
    /// They cannot; says what is expected of a key. By default every key will do.
    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        let _ = key;
        Ok(())
    }

    /// Change announcements: a counter that moves with every change under the key, also with those
    /// made by others. A manager that has it answers hits from its own slot; without it, the
    /// storage is asked at each `get_token`.
    fn generation(&self, key: &str) -> Option<Generation> {
        let _ = key;
        None
    }

    /// Deleting only what still is the token one knows, atomically.
    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        None
    }

    /// Leases on keys, so that of all who share this storage one fetches, and all wait after a failure.
    fn leases(&self) -> Option<&dyn TokenLeases> {
        None
    }
}

/// A storage's capability to delete a token only if it still is a certain one.
#[async_trait]
pub trait CompareAndDelete: Send + Sync {
    /// Deletes the token under the key if it has this identity, in one atomic step. Says whether
    /// it did.
    ///
    /// # Errors
    ///
    /// The storage could not be told.
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError>;
}

#[async_trait]
impl<S: TokenStorage + ?Sized> TokenStorage for Arc<S> {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        (**self).get(key).await
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        (**self).set(key, token).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        (**self).delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        (**self).exists(key).await
    }

    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        (**self).check_key(key)
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        (**self).generation(key)
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        (**self).compare_and_delete()
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        (**self).leases()
    }
}
