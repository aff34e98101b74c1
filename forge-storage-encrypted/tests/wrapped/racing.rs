//! A storage in which an event happens between a read and the write that depends on it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use forge_core::{
    CompareAndDelete, CoolDown, CoolDownPolicy, Generation, LeaseOutcome, ManualClock, MarkTakeover,
    RefreshMark, StorageError, TokenData, TokenId, TokenLease, TokenLeases, TokenStorage, async_trait,
};
use forge_storage_memory::InMemoryTokenStorage;

type Event = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tokens in memory. Before each step that compares, the next event happens.
#[derive(Clone)]
pub(crate) struct RacingStorage {
    /// The clock by which leases run out.
    pub(crate) clock: Arc<ManualClock>,
    /// The number of reads.
    pub(crate) reads: Arc<AtomicUsize>,
    inner: InMemoryTokenStorage,
    events: Arc<Mutex<VecDeque<Event>>>,
}

impl RacingStorage {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let inner = InMemoryTokenStorage::builder().clock(Arc::clone(&clock) as _).build();
        Self { clock, reads: Arc::default(), inner, events: Arc::default() }
    }

    pub(crate) fn then(&self, event: impl Future<Output = ()> + Send + 'static) {
        self.events.lock().expect("unpoisoned").push_back(Box::pin(event));
    }

    async fn next_event(&self) {
        let event = self.events.lock().expect("unpoisoned").pop_front();
        if let Some(event) = event {
            event.await;
        }
    }
}

impl std::fmt::Debug for RacingStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Racing")
    }
}

#[async_trait]
impl TokenStorage for RacingStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
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

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        Some(self)
    }
}

#[async_trait]
impl CompareAndDelete for RacingStorage {
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        self.next_event().await;
        self.inner.delete_if(key, id).await
    }
}

impl TokenLeases for RacingStorage {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        let lease = TokenLeases::lease(&self.inner, key);
        Box::new(Lease { storage: self.clone(), lease })
    }
}

struct Lease {
    storage: RacingStorage,
    lease: Box<dyn TokenLease>,
}

#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        self.lease.acquire(policy).await
    }

    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        self.lease.mark_refresh_token(id, takeover).await
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        self.lease.clear_mark(id).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        self.storage.next_event().await;
        self.lease.store(token, read).await
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        self.lease.fail(cool_down).await
    }
}
