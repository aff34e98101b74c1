use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use forge_core::{
    CompareAndDelete, ConfigError, Generation, StorageError, TokenData, TokenId, TokenLease, TokenLeases,
    TokenStorage,
};

use crate::keyring::Keyring;
use crate::lease::Lease;
use crate::{EncryptedTokenStorageBuilder, EncryptionKey, record};

/// A storage around another one that lets it have encrypted tokens only. Clones share it.
///
/// ```
/// use forge_core::{TokenData, TokenStorage};
/// use forge_storage_encrypted::{EncryptedTokenStorage, EncryptionKey};
/// use forge_storage_memory::InMemoryTokenStorage;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let text = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";
/// // From `openssl rand -base64 32`, by way of a mounted file, a variable or a vault.
/// let key = EncryptionKey::from_base64("2026-11", text)?;
/// let inner = InMemoryTokenStorage::new(); // in earnest one that others can read: Redis
/// let storage = EncryptedTokenStorage::new(inner.clone(), key);
///
/// storage.set("crm", &TokenData::new("abc")).await?;
/// assert_eq!(storage.get("crm").await?, Some(TokenData::new("abc")));
/// assert!(inner.get("crm").await?.unwrap().access_token().starts_with("sealed1.2026-11."));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// It has whatever capabilities the inner storage has, and managers do with it what they do with that one.
///
/// # What is hidden, and what is not
///
/// Access token, token type, refresh token, scope and all else that the issuer sent are encrypted together
/// (XChaCha20-Poly1305, a random nonce for each write). In the clear stay: the cache key, which holds no
/// secret; the id of the encryption key; about how long the token is; when it was issued and when it
/// expires; whether there is a refresh token, and the number of seconds that it lives, if the issuer
/// stated it. A storage with leases also keeps the digest of the access token whose refresh token was
/// sent.
///
/// The cache key is authenticated with the token: a record that was moved under another key does not
/// decrypt. Whoever may write to the inner storage can still take records away, put back an older record
/// of the same cache key, and change the times beside it, which belong to the inner storage's clock. And
/// since a name in front of the cache key, such as Redis's prefix, is not known here, records can be moved
/// between two prefixes with the same encryption key: give each its own.
///
/// The storage does not store a token whose record could not be read back ([`TokenData::to_record`]).
/// Encryption makes a record a third longer; consider this if the inner storage limits the size of a value.
///
/// What cannot be decrypted is a miss, told once by a warning (`tracing`, level WARN), and replaced by the
/// next token: a record that is truncated, changed, moved, not encrypted at all, or whose key is not here.
///
/// # Rotating the key
///
/// 1. Give every process the new key for reading, with [`reading_key`](EncryptedTokenStorageBuilder::reading_key).
/// 2. When all have it, let the new key write and the old one read.
/// 3. When all do, and every token was renewed since, drop the old one. Sooner costs a fetch for each record
///    that still is under the old key, and no error.
///
/// Nothing is flushed and no token call is made for it: a record is encrypted with the new key at its next
/// renewal. Do not leave out the first step: processes that cannot read each other's records replace them
/// in turn, with a token call each time. For the same reason give the encrypted records a place of their own
/// (another Redis prefix, for example) while some processes encrypt and others do not: a manager without
/// encryption treats an encrypted record as a miss ([`TokenData::is_sealed`]).
///
/// # Memory
///
/// Keys, and plain texts while they are encrypted or decrypted, are overwritten when dropped; copies inside
/// `serde_json` are not.
#[derive(Clone)]
pub struct EncryptedTokenStorage(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    storage: Box<dyn TokenStorage>,
    keys: Keyring,
    /// Under which key, and which record.
    reported: Mutex<HashSet<(String, TokenId)>>,
}

impl EncryptedTokenStorage {
    /// A storage with one key, for reading and writing.
    #[must_use]
    pub fn new(storage: impl TokenStorage + 'static, key: EncryptionKey) -> Self {
        let keys = Keyring { writing: key, reading: Vec::new() };
        Self(Arc::new(Inner::new(Box::new(storage), keys)))
    }

    /// A storage with a key that writes, and more that only read.
    pub fn builder(
        storage: impl TokenStorage + 'static,
        writing_key: EncryptionKey,
    ) -> EncryptedTokenStorageBuilder {
        EncryptedTokenStorageBuilder::new(Box::new(storage), writing_key)
    }
}

/// What the inner storage has under a key.
pub(crate) struct Present {
    /// Names the record, whatever it is.
    pub(crate) record: Option<TokenId>,
    pub(crate) token: Option<TokenData>,
}

impl Present {
    pub(crate) fn id(&self) -> Option<TokenId> {
        self.token.as_ref().map(TokenData::id)
    }
}

/// How often a record is looked at again that changes under our hands.
pub(crate) const MOST_LOOKS: usize = 8;
const MOST_REPORTED: usize = 1_000;

impl Inner {
    pub(crate) fn new(storage: Box<dyn TokenStorage>, keys: Keyring) -> Self {
        Self { storage, keys, reported: Mutex::default() }
    }

    pub(crate) async fn look(&self, key: &str) -> Result<Present, StorageError> {
        let Some(record) = self.storage.get(key).await? else {
            return Ok(Present { record: None, token: None });
        };
        Ok(Present { record: Some(record.id()), token: self.open(key, &record) })
    }

    /// The token in a record, if it can be decrypted.
    pub(crate) fn open(&self, key: &str, record: &TokenData) -> Option<TokenData> {
        record::open(&self.keys, key, record)
            .inspect_err(|record_error| self.report(key, record.id(), record_error.0))
            .ok()
    }

    pub(crate) fn seal(&self, key: &str, token: &TokenData) -> Result<TokenData, StorageError> {
        record::seal(&self.keys, key, token)
    }

    /// Once for each value, and without it.
    fn report(&self, key: &str, record: TokenId, why: &'static str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= MOST_REPORTED {
            reported.clear();
        }
        if reported.insert((key.to_owned(), record)) {
            tracing::warn!(
                key,
                why,
                "what is stored here cannot be decrypted; going on as if there were nothing"
            );
        }
    }
}

#[async_trait]
impl TokenStorage for EncryptedTokenStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(self.0.look(key).await?.token)
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
    /// The token decides, and the inner storage compares the record: what is under the key may be the same
    /// token, encrypted once more.
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        let Some(comparing) = self.0.storage.compare_and_delete() else { return Err(lost()) };
        for _ in 0..MOST_LOOKS {
            let present = self.0.look(key).await?;
            let Some(record) = present.record.filter(|_| present.id() == Some(id)) else { return Ok(false) };
            if comparing.delete_if(key, record).await? {
                return Ok(true);
            }
        }
        Err(StorageError::new("the record changes faster than it can be compared"))
    }
}

impl TokenLeases for EncryptedTokenStorage {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        let lease = self.0.storage.leases().map(|leases| leases.lease(key));
        Box::new(Lease::new(Arc::clone(&self.0), key, lease))
    }
}

/// The inner storage had a capability when it was asked for, and has it no more.
pub(crate) fn lost() -> StorageError {
    StorageError::new("the inner storage cannot do this any more").with_nothing_sent()
}

impl fmt::Debug for EncryptedTokenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedTokenStorage")
            .field("storage", &self.0.storage)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}
