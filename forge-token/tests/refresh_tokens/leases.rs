//! Storages whose leases fail or are observed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use forge_core::{
    CoolDown, CoolDownPolicy, Generation, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, StorageError,
    TokenData, TokenId, TokenLease, TokenLeases, TokenStorage, async_trait,
};
use forge_storage_memory::InMemoryTokenStorage;

use crate::scripted::ScriptedProvider;

/// A storage whose leases do what the test has set, and count what the manager does with them.
#[derive(Debug)]
struct LeaseStorage {
    inner: InMemoryTokenStorage,
    state: Arc<LeaseState>,
}

#[derive(Debug, Default)]
struct LeaseState {
    panics_in_drop: AtomicBool,
    releases: AtomicUsize,
}

impl LeaseStorage {
    fn new(inner: InMemoryTokenStorage) -> Arc<Self> {
        Arc::new(Self { inner, state: Arc::default() })
    }
}

#[async_trait]
impl TokenStorage for LeaseStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        self.inner.get(key).await
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.inner.set(key, token).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        self.inner.exists(key).await
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        self.inner.generation(key)
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        Some(self)
    }
}

impl TokenLeases for LeaseStorage {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        let inner = self.inner.leases().expect("it has leases").lease(key);
        Box::new(ObservedLease { inner, state: Arc::clone(&self.state) })
    }
}

struct ObservedLease {
    inner: Box<dyn TokenLease>,
    state: Arc<LeaseState>,
}

impl Drop for ObservedLease {
    fn drop(&mut self) {
        self.state.releases.fetch_add(1, Ordering::SeqCst);
        let panics = self.state.panics_in_drop.load(Ordering::SeqCst);
        assert!(!panics, "canary: the release of the lease panics on purpose");
    }
}

#[async_trait]
impl TokenLease for ObservedLease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        self.inner.acquire(policy).await
    }

    fn take_read(&mut self) -> LeaseRead {
        self.inner.take_read()
    }

    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        self.inner.mark_refresh_token(id, takeover).await
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        self.inner.clear_mark(id).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        self.inner.store(token, read).await
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        self.inner.fail(cool_down).await
    }
}

/// Fault: the flight's task ended without a result, and its callers began one flight after another.
#[tokio::test(start_paused = true)]
async fn inv03_a_lease_that_panics_in_its_drop_costs_no_token() {
    let issuer = ScriptedProvider::new(true, true);
    let storage = LeaseStorage::new(issuer.storage());
    storage.state.panics_in_drop.store(true, Ordering::SeqCst);
    let manager = issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
    let (one, two) = tokio::join!(manager.get_token(), manager.get_token());
    assert_eq!(one.expect("a token").access_token(), "t1");
    assert_eq!(two.expect("a token").access_token(), "t1");
    assert_eq!(storage.state.releases.load(Ordering::SeqCst), 1, "there was one flight");
}
