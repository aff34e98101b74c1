mod builder;
mod lease;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use forge_core::{
    CompareAndDelete, ConfigError, Generation, StorageError, TokenData, TokenId, TokenLease, TokenLeases,
    TokenStorage,
};

use crate::keyring::Keyring;
use crate::{EncryptionKey, record};
pub use builder::EncryptedTokenStorageBuilder;
use lease::Lease;

/// Wraps another storage, and gives it only encrypted tokens. Clones share the inner storage.
///
/// ```
/// use requestforge::{EncryptedTokenStorage, EncryptionKey, InMemoryTokenStorage, TokenData, TokenStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let text = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";
/// // The output of `openssl rand -base64 32`, from a mounted file, a variable or a vault.
/// let key = EncryptionKey::from_base64("2026-11", text)?;
/// let inner = InMemoryTokenStorage::new(); // in production a storage that others can read, such as Redis
/// let storage = EncryptedTokenStorage::new(inner.clone(), key);
///
/// storage.set("crm", &TokenData::new("abc")).await?;
/// assert_eq!(storage.get("crm").await?, Some(TokenData::new("abc")));
/// assert!(inner.get("crm").await?.unwrap().access_token().starts_with("sealed1.2026-11."));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// It has the same capabilities as the inner storage, so managers work with it in the same way.
///
/// # Hidden and readable data
///
/// The storage encrypts access token, token type, refresh token, scope and all other fields of the issuer together
/// (XChaCha20-Poly1305, a random nonce for each write). These stay readable:
///
/// - the cache key, which contains no secret, and the id of the encryption key;
/// - the approximate length of the token, the time when it was issued, and the time when it expires;
/// - whether there is a refresh token, and its lifetime in seconds, if the issuer stated it;
/// - in a storage with leases, the digest of the access token whose refresh token was sent.
///
/// Attack: the cache key is authenticated with the token, so a record that was moved under another key does not decrypt. An
/// attacker with write access to the inner storage can still delete records, put back an older record of the same cache
/// key, and change the times beside it, which are by the inner storage's clock. This storage does not know a prefix that
/// the inner storage puts before the cache key, such as that of Redis. So such an attacker can move records between two
/// prefixes with the same encryption key: use a different key for each prefix.
///
/// The storage does not store a token whose record could not be read back ([`TokenData::to_record`]).
/// Encryption makes a record a third longer; consider this if the inner storage limits the size of a value.
///
/// A record that cannot be decrypted is a miss: it is truncated, changed, moved or not encrypted, or its key is missing.
/// The storage logs one warning for each such record (`tracing`, level WARN), and the next token replaces the record.
///
/// # Rotating the key
///
/// 1. Give every process the new key for reading, with [`reading_key`](EncryptedTokenStorageBuilder::reading_key).
/// 2. When all processes have it, encrypt with the new key and keep the old one for reading.
/// 3. When all processes do so, and every token was renewed since, drop the old key. If you drop it sooner, each record
///    under the old key costs one fetch, but no error.
///
/// The rotation flushes nothing and causes no token call: the new key encrypts a record at its next renewal. Do not
/// skip the first step: processes that cannot read each other's records replace them in turn, with a token call each
/// time. For the same reason store encrypted records separately (with another Redis prefix, for example) while some
/// processes encrypt and others do not: a manager without encryption treats an encrypted record as a miss
/// ([`TokenData::is_sealed`]).
///
/// # Memory
///
/// The storage overwrites keys and decrypted texts when it drops them. It cannot overwrite copies inside `serde_json`.
#[derive(Clone)]
pub struct EncryptedTokenStorage(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    storage: Box<dyn TokenStorage>,
    keys: Keyring,
    /// The unreadable records that were reported: cache key and digest.
    reported: Mutex<HashSet<(String, TokenId)>>,
}

impl EncryptedTokenStorage {
    /// A storage with one key, for encrypting and decrypting.
    #[must_use]
    pub fn new(storage: impl TokenStorage + 'static, key: EncryptionKey) -> Self {
        let keys = Keyring { writing: key, reading: Vec::new() };
        Self(Arc::new(Inner::new(Box::new(storage), keys)))
    }

    /// A builder for a storage with one encrypting key, and more keys that only decrypt.
    pub fn builder(
        storage: impl TokenStorage + 'static,
        writing_key: EncryptionKey,
    ) -> EncryptedTokenStorageBuilder {
        EncryptedTokenStorageBuilder::new(Box::new(storage), writing_key)
    }
}

/// The content of the inner storage under a cache key.
pub(crate) struct StoredRecord {
    /// The digest of the record, even if the record is unreadable.
    pub(crate) record: Option<TokenId>,
    pub(crate) token: Option<TokenData>,
}

impl StoredRecord {
    pub(crate) fn id(&self) -> Option<TokenId> {
        self.token.as_ref().map(TokenData::id)
    }
}

/// Race: other processes may replace the record between reading and comparing, each time with the same token, encrypted
/// anew. Eight processes that store one token at the same moment are very unlikely, so a further attempt would not help.
pub(crate) const MAX_ATTEMPTS: usize = 8;
/// Limits the memory for reports. Once it is reached, all reports are forgotten, and each record may be reported again.
const MAX_REPORTED: usize = 1_000;

impl Inner {
    pub(crate) fn new(storage: Box<dyn TokenStorage>, keys: Keyring) -> Self {
        Self { storage, keys, reported: Mutex::default() }
    }

    pub(crate) async fn read_record(&self, key: &str) -> Result<StoredRecord, StorageError> {
        let Some(record) = self.storage.get(key).await? else {
            return Ok(StoredRecord { record: None, token: None });
        };
        Ok(StoredRecord { record: Some(record.id()), token: self.open(key, &record) })
    }

    /// Decrypts the token of a record. `None` if that fails, which this reports.
    pub(crate) fn open(&self, key: &str, record: &TokenData) -> Option<TokenData> {
        record::open(&self.keys, key, record)
            .inspect_err(|record_error| self.report(key, record.id(), record_error.0))
            .ok()
    }

    pub(crate) fn seal(&self, key: &str, token: &TokenData) -> Result<TokenData, StorageError> {
        record::seal(&self.keys, key, token)
    }

    /// Warns once for each unreadable record, without its content.
    fn report(&self, key: &str, record: TokenId, why: &'static str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= MAX_REPORTED {
            reported.clear();
        }
        if reported.insert((key.to_owned(), record)) {
            tracing::warn!(key, why, "the stored record cannot be decrypted; treating it as a miss");
        }
    }
}

#[async_trait]
impl TokenStorage for EncryptedTokenStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(self.0.read_record(key).await?.token)
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.0.storage.set(key, &self.0.seal(key, token)?).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.storage.delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.get(key).await?.is_some())
    }

    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        self.0.storage.check_key(key)
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        self.0.storage.generation(key)
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        self.0.storage.compare_and_delete().map(|_| self as _)
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        self.0.storage.leases().map(|_| self as _)
    }
}

#[async_trait]
impl CompareAndDelete for EncryptedTokenStorage {
    /// Compares the token here and the record in the inner storage. Race: between the two another process may store the
    /// same token, encrypted again; then this looks again.
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        let Some(comparing) = self.0.storage.compare_and_delete() else {
            return Err(lost_capability_error());
        };
        for _ in 0..MAX_ATTEMPTS {
            let present = self.0.read_record(key).await?;
            let Some(record) = present.record.filter(|_| present.id() == Some(id)) else { return Ok(false) };
            if comparing.delete_if(key, record).await? {
                return Ok(true);
            }
        }
        Err(StorageError::new("other processes replaced the record at each attempt to compare it"))
    }
}

impl TokenLeases for EncryptedTokenStorage {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        let lease = self.0.storage.leases().map(|leases| leases.lease(key));
        Box::new(Lease::new(Arc::clone(&self.0), key, lease))
    }
}

/// The error if the inner storage has lost a capability that it had before.
pub(crate) fn lost_capability_error() -> StorageError {
    StorageError::new("the inner storage no longer has this capability").with_nothing_sent()
}

impl fmt::Debug for EncryptedTokenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedTokenStorage")
            .field("storage", &self.0.storage)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}
