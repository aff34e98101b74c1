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

/// Stores tokens, in the process or shared between processes.
///
/// Four methods make a storage. The other methods return capabilities, and none by default. With
/// [`generation`](Self::generation) a manager answers hits without a call to the storage. With
/// [`compare_and_delete`](Self::compare_and_delete) it deletes a rejected token without a race. With
/// [`leases`](Self::leases) only one of several managers fetches. A wrapper around a storage must forward the
/// capabilities.
///
/// A storage need not check whether a token has expired, because managers do. It may drop a token that has no use any
/// more (see [`TokenData::kept_until`]).
///
/// Check an implementation of your own with `storage_conformance::check` (feature `test-util`).
///
/// If your storage holds text, as a database column or a file does, store the token's
/// [record](TokenData::to_record):
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
/// use requestforge::{Secret, StorageError, TokenData, TokenStorage, async_trait};
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
#[doc(alias = "TokenStorageInterface")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token storage",
    label = "expected a `TokenStorage`, such as `InMemoryTokenStorage` or `RedisTokenStorage`",
    note = "a storage of your own implements `TokenStorage` with its methods `get`, `set`, `delete` and `exists`"
)]
#[async_trait]
pub trait TokenStorage: Send + Sync + std::fmt::Debug {
    /// The token under a key.
    ///
    /// # Errors
    ///
    /// The read failed. A value that is not a token is a miss, not an error.
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError>;

    /// Stores a token, and replaces the one that is there.
    ///
    /// # Errors
    ///
    /// The write failed, or the token is [unstorable](StorageError::is_unstorable).
    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError>;

    /// Deletes a token. A missing token is not an error. In a storage with [`leases`](Self::leases), a lease that was
    /// acquired before the deletion must not store a token after it.
    ///
    /// # Errors
    ///
    /// The deletion failed.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// Whether there is a token under a key.
    ///
    /// # Errors
    ///
    /// The read failed.
    async fn exists(&self, key: &str) -> Result<bool, StorageError>;

    /// Checks that this storage accepts the key. The builder of a manager calls this. By default every key is valid.
    ///
    /// # Errors
    ///
    /// The key is invalid. The error says what the storage expects.
    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        let _ = key;
        Ok(())
    }

    /// A counter that moves with each change under the key, including the changes of other processes. With it a manager
    /// answers hits from its own slot. Without it the manager reads the storage at each `get_token`.
    fn generation(&self, key: &str) -> Option<Generation> {
        let _ = key;
        None
    }

    /// The capability to delete a token only if it still is a known one, in one atomic step.
    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        None
    }

    /// The capability to grant leases on keys, so that only one user of this storage fetches a token at a time, and all of
    /// them wait after a failure.
    fn leases(&self) -> Option<&dyn TokenLeases> {
        None
    }
}

/// A storage's capability to delete a token only if it still is a known one.
#[async_trait]
pub trait CompareAndDelete: Send + Sync {
    /// Deletes the token under the key if it has this identity, in one atomic step. Returns whether it did.
    ///
    /// # Errors
    ///
    /// The deletion failed.
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
