//! Storages whose leases fail or are observed.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use forge_core::{
    AuthenticationError, CoolDown, CoolDownPolicy, Generation, LeaseOutcome, LeaseRead, MarkTakeover,
    RefreshMark, StorageError, TokenData, TokenId, TokenLease, TokenLeases, TokenProvider, TokenStorage,
    async_trait,
};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::TokenManager;
use tokio::sync::Semaphore;

use crate::scripted::{ScriptedProvider, Step};

/// A storage whose leases do what the test has set, and count what the manager does with them.
#[derive(Debug)]
struct LeaseStorage {
    inner: InMemoryTokenStorage,
    /// A deletion takes a permit first.
    deletions: Semaphore,
    state: Arc<LeaseState>,
}

#[derive(Debug, Default)]
struct LeaseState {
    panics_in_drop: AtomicBool,
    rejects_writes: AtomicBool,
    marks: AtomicUsize,
    releases: AtomicUsize,
}

impl LeaseStorage {
    fn new(inner: InMemoryTokenStorage) -> Arc<Self> {
        Arc::new(Self { inner, deletions: Semaphore::new(0), state: Arc::default() })
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
        let _permit = self.deletions.acquire().await.map_err(|_| StorageError::new("closed"))?;
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
        self.state.marks.fetch_add(1, Ordering::SeqCst);
        self.inner.mark_refresh_token(id, takeover).await
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        self.inner.clear_mark(id).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        if self.state.rejects_writes.load(Ordering::SeqCst) {
            return Err(StorageError::new("out of order").with_nothing_sent());
        }
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

/// Fault: the first token was not sent to the storage, so its refresh token was private. The next refresh token came with
/// an access token that no header can carry, and was stored with the first access token. The manager still took it for
/// private, and sent it without a mark.
#[tokio::test]
async fn inv25_a_refresh_token_that_is_stored_later_is_marked_before_it_is_sent() {
    let issuer = ScriptedProvider::new(true, true);
    let storage = LeaseStorage::new(issuer.storage());
    let manager = issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
    storage.state.rejects_writes.store(true, Ordering::SeqCst);
    manager.get_token().await.expect("a token");
    storage.state.rejects_writes.store(false, Ordering::SeqCst);

    issuer.clock.advance(Duration::from_secs(3600));
    issuer.refresh([Step::Bad]);
    manager.get_token().await.expect_err("no header can carry the access token");
    assert_eq!(storage.state.marks.load(Ordering::SeqCst), 0, "the first refresh token is private");
    let stored = storage.get("key").await.expect("a storage that answers").expect("a token");
    assert_eq!(stored.refresh_token(), Some("r2"));

    issuer.clock.advance(Duration::from_secs(60));
    manager.get_token().await.expect("a token");
    assert_eq!(issuer.sent(), ["r1", "r2"]);
    assert_eq!(storage.state.marks.load(Ordering::SeqCst), 1, "other processes have the second one");
}

type Invalidation = Pin<Box<dyn Future<Output = Result<(), AuthenticationError>> + Send>>;

/// A provider during whose only poll an invalidation begins. The test goes on with the invalidation.
#[derive(Default)]
struct InvalidatingProvider {
    manager: OnceLock<TokenManager>,
    invalidation: Mutex<Option<Invalidation>>,
}

#[async_trait]
impl TokenProvider for InvalidatingProvider {
    fn service_name(&self) -> &'static str {
        "invalidating"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let manager = self.manager.get().expect("the test has set it").clone();
        let mut invalidation: Invalidation = Box::pin(async move { manager.invalidate_token().await });
        let begun = poll_fn(|context| Poll::Ready(invalidation.as_mut().poll(context))).await;
        assert!(begun.is_pending(), "the storage does not delete yet");
        *self.invalidation.lock().expect("unpoisoned") = Some(invalidation);
        Ok(TokenData::new("t"))
    }
}

/// Fault: without a hook, an invalidation during the provider's last poll was not noticed. The flight held its lease
/// while it waited for the invalidation's deletion.
#[tokio::test]
async fn inv01_a_detached_flight_releases_its_lease_before_it_waits_for_the_deletion() {
    let storage = LeaseStorage::new(InMemoryTokenStorage::new());
    let provider = Arc::new(InvalidatingProvider::default());
    let builder = TokenManager::builder(Arc::clone(&provider)).storage(Arc::clone(&storage));
    let manager = builder.build().expect("a manager");
    assert!(provider.manager.set(manager.clone()).is_ok());
    let waiting = tokio::spawn(async move { manager.get_token().await });
    let invalidation = loop {
        tokio::task::yield_now().await;
        if let Some(invalidation) = provider.invalidation.lock().expect("unpoisoned").take() {
            break invalidation;
        }
    };
    tokio::task::yield_now().await;
    assert_eq!(storage.state.releases.load(Ordering::SeqCst), 1, "the deletion is not over");
    storage.deletions.add_permits(1);
    invalidation.await.expect("the storage deletes");
    assert_eq!(waiting.await.expect("no panic").expect("a token").access_token(), "t");
}
