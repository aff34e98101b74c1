mod lease;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use forge_core::{
    Clock, ClockReading, CompareAndDelete, Generation, Generations, MarkTakeover, RefreshMark, StorageError,
    SystemClock, TokenData, TokenId, TokenLease, TokenLeases, TokenStorage,
};
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::leases::Leases;
use crate::mark::{KeyMark, MAX_MARK_AGE};
use lease::Lease;

/// Stores tokens in the memory of the process. Clones share the tokens.
///
/// The storage keeps at most 100,000 tokens by default, and evicts the least recently used one first. It drops a token when
/// both the token and its refresh token have expired. Managers that share a storage see each other's changes at once, and
/// only one of them fetches the token of a key at a time.
///
/// ```
/// use requestforge::{InMemoryTokenStorage, TokenData, TokenStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let storage = InMemoryTokenStorage::new();
/// storage.set("crm", &TokenData::new("abc")).await?;
/// assert!(storage.exists("crm").await?);
/// storage.clear();
/// assert!(!storage.exists("crm").await?);
/// # Ok::<_, requestforge::StorageError>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct InMemoryTokenStorage(Arc<Inner>);

struct Inner {
    tokens: Cache<String, Arc<StoredToken>>,
    /// Separate from the tokens, since a manager may be sending the refresh token of a token that was evicted meanwhile.
    marks: Cache<String, Arc<KeyMark>>,
    generations: Generations,
    leases: Arc<Leases>,
    clock: Arc<dyn Clock>,
    /// Locked while a token changes, so that comparing and deleting is one step. Reads do not take this lock. Deadlock:
    /// always lock `leases` before `changing`.
    changing: Mutex<()>,
}

struct StoredToken {
    token: TokenData,
    until: Option<DateTime<Utc>>,
}

/// Settings of an [`InMemoryTokenStorage`].
#[derive(Clone, Debug)]
#[must_use]
pub struct InMemoryTokenStorageBuilder {
    capacity: u64,
    clock: Arc<dyn Clock>,
}

impl InMemoryTokenStorageBuilder {
    /// The maximum number of tokens, and also of keys whose recent failures the storage remembers. Default:
    /// 100,000.
    pub fn capacity(mut self, tokens: u64) -> Self {
        self.capacity = tokens;
        self
    }

    /// The clock by which tokens expire. Default: the machine's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the empty storage.
    pub fn build(self) -> InMemoryTokenStorage {
        let tokens = Cache::builder()
            .max_capacity(self.capacity)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(ExpiryPolicy(Arc::clone(&self.clock)))
            .build();
        let marks = Cache::builder().max_capacity(self.capacity).time_to_live(MAX_MARK_AGE).build();
        InMemoryTokenStorage(Arc::new(Inner {
            tokens,
            marks,
            generations: Generations::default(),
            leases: Arc::new(Leases::with_capacity(self.capacity)),
            clock: self.clock,
            changing: Mutex::new(()),
        }))
    }
}

impl InMemoryTokenStorage {
    /// An empty storage with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A builder for a storage with other settings.
    pub fn builder() -> InMemoryTokenStorageBuilder {
        InMemoryTokenStorageBuilder { capacity: 100_000, clock: Arc::new(SystemClock) }
    }

    /// Deletes all tokens. A fetch that began before does not store its token afterwards.
    pub fn clear(&self) {
        self.0.leases.invalidate_all_keys(|| {
            let _changing = self.0.change();
            self.0.tokens.invalidate_all();
            self.0.generations.bump_all();
        });
    }

    /// The number of tokens that occupy memory now.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.tokens.run_pending_tasks();
        self.0.tokens.entry_count()
    }

    /// Whether the storage has no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl InMemoryTokenStorage {
    pub(crate) fn leases_of_keys(&self) -> &Arc<Leases> {
        &self.0.leases
    }

    pub(crate) fn now(&self) -> ClockReading {
        self.0.clock.now()
    }

    /// Marks the refresh token of the key as sent by this lease.
    pub(crate) fn mark(&self, key: &str, id: TokenId, lease: u64, takeover: MarkTakeover) -> RefreshMark {
        let marks = self.0.marks.get_with_by_ref(key, Arc::default);
        marks.make(id, lease, takeover, self.now())
    }

    pub(crate) fn clear_mark(&self, key: &str, id: TokenId, lease: u64) {
        if let Some(marks) = self.0.marks.get(key) {
            marks.clear(id, lease);
        }
    }

    /// Stores a token if `may_replace` accepts the identity of the present one. Returns whether it did.
    pub(crate) fn set_if(
        &self,
        key: &str,
        token: &TokenData,
        may_replace: impl FnOnce(Option<TokenId>) -> bool,
    ) -> bool {
        let now = self.now().wall();
        let until = token.kept_until(now);
        {
            let _changing = self.0.change();
            if !may_replace(self.0.read(key).map(|kept| kept.token.id())) {
                return false;
            }
            if until.is_some_and(|until| until <= now) {
                self.0.tokens.invalidate(key);
            } else {
                self.0.tokens.insert(key.to_owned(), Arc::new(StoredToken { token: token.clone(), until }));
            }
            // The new token has another refresh token, or the old one was not used up. So the mark no longer applies.
            self.0.marks.invalidate(key);
            self.0.generations.bump(key);
        }
        // moka removes expired entries only during its own tasks. Without this call an entry that is never read again
        // would stay in memory.
        self.0.tokens.run_pending_tasks();
        true
    }
}

impl Default for InMemoryTokenStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InMemoryTokenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryTokenStorage").field("tokens", &self.0.tokens.entry_count()).finish()
    }
}

impl Inner {
    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, key: &str) -> Option<Arc<StoredToken>> {
        let now = self.clock.now().wall();
        self.tokens.get(key).filter(|kept| kept.until.is_none_or(|until| now < until))
    }
}

#[async_trait]
impl TokenStorage for InMemoryTokenStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(self.0.read(key).map(|kept| kept.token.clone()))
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.set_if(key, token, |_present| true);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        // Race: a fetch that began before this deletion must not store its token after it. `invalidate_key` prevents that.
        self.0.leases.invalidate_key(key, || {
            let _changing = self.0.change();
            self.0.tokens.invalidate(key);
            self.0.generations.bump(key);
        });
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.0.read(key).is_some())
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        Some(self.0.generations.of(key))
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        Some(self)
    }
}

#[async_trait]
impl CompareAndDelete for InMemoryTokenStorage {
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        let _changing = self.0.change();
        let matches = self.0.read(key).is_some_and(|kept| kept.token.id() == id);
        if matches {
            self.0.tokens.invalidate(key);
            self.0.generations.bump(key);
        }
        Ok(matches)
    }
}

impl TokenLeases for InMemoryTokenStorage {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        Box::new(Lease::new(self.clone(), key))
    }
}

/// Tells moka when to free an entry. moka has a clock of its own, so `Inner::read` also compares the end of the token with
/// the injected clock.
struct ExpiryPolicy(Arc<dyn Clock>);

impl ExpiryPolicy {
    fn lifetime(&self, kept: &StoredToken) -> Option<Duration> {
        let until = kept.until?;
        Some(until.signed_duration_since(self.0.now().wall()).to_std().unwrap_or_default())
    }
}

impl Expiry<String, Arc<StoredToken>> for ExpiryPolicy {
    fn expire_after_create(&self, _key: &String, kept: &Arc<StoredToken>, _now: Instant) -> Option<Duration> {
        self.lifetime(kept)
    }

    fn expire_after_update(
        &self,
        _key: &String,
        kept: &Arc<StoredToken>,
        _now: Instant,
        _remaining: Option<Duration>,
    ) -> Option<Duration> {
        self.lifetime(kept)
    }
}

#[cfg(test)]
mod tests {
    use forge_core::{CoolDown, CoolDownPolicy, LeaseOutcome, ManualClock};

    use super::*;
    use crate::cool_downs::FAILURE_MEMORY;

    #[tokio::test]
    async fn conforms() {
        forge_core::storage_conformance::check(InMemoryTokenStorage::new(), "").await;
    }

    #[tokio::test]
    async fn conforms_behind_a_pointer() {
        let storage: Arc<dyn TokenStorage> = Arc::new(InMemoryTokenStorage::new());
        forge_core::storage_conformance::check(storage, "").await;
    }

    #[tokio::test]
    async fn a_token_leaves_when_it_is_of_no_use_and_not_before() {
        let clock = Arc::new(ManualClock::new());
        let storage = InMemoryTokenStorage::builder().clock(Arc::clone(&clock) as _).build();
        let expiring = TokenData::new("t").with_expires_at(clock.now().wall() + Duration::from_secs(60));
        storage.set("access", &expiring).await.unwrap();
        storage.set("refresh", &expiring.clone().with_refresh_token("r")).await.unwrap();
        storage.set("for ever", &TokenData::new("t")).await.unwrap();

        clock.advance(Duration::from_secs(59));
        assert!(storage.exists("access").await.unwrap());
        clock.advance(Duration::from_secs(1));
        assert_eq!(storage.get("access").await.unwrap(), None);
        assert!(storage.exists("refresh").await.unwrap());
        clock.advance(Duration::from_secs(31 * 24 * 3600));
        assert!(!storage.exists("refresh").await.unwrap());
        assert!(storage.exists("for ever").await.unwrap());
    }

    #[tokio::test]
    async fn it_is_bounded_and_keeps_what_was_used_last() {
        let storage = InMemoryTokenStorage::builder().capacity(10).build();
        for i in 0..100 {
            storage.set(&format!("key {i}"), &TokenData::new("t")).await.unwrap();
        }
        assert!(storage.len() <= 10, "{}", storage.len());
        assert!(storage.exists("key 99").await.unwrap());
        assert!(!storage.exists("key 0").await.unwrap());
    }

    async fn fail(storage: &InMemoryTokenStorage, key: &str, cool_down: CoolDown) {
        let mut lease = TokenLeases::lease(storage, key);
        lease.acquire(CoolDownPolicy::Ignore).await.unwrap();
        lease.fail(&cool_down).await.unwrap();
    }

    async fn failures(storage: &InMemoryTokenStorage, key: &str) -> u32 {
        match TokenLeases::lease(storage, key).acquire(CoolDownPolicy::Ignore).await.unwrap() {
            LeaseOutcome::Held { failures } => failures,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn inv08_what_is_known_of_failures_leaves_some_time_after_the_cool_down() {
        let clock = Arc::new(ManualClock::new());
        let storage = InMemoryTokenStorage::builder().clock(Arc::clone(&clock) as _).build();
        for i in 0..5_000 {
            fail(&storage, &format!("key {i}"), CoolDown::new(Duration::from_secs(i % 60), 3)).await;
        }
        assert_eq!(storage.0.leases.known_keys(), 5_000);
        clock.advance(Duration::from_secs(60));
        let mut next = TokenLeases::lease(&storage, "key 7");
        let acquired = next.acquire(CoolDownPolicy::Respect).await.unwrap();
        assert_eq!(acquired, LeaseOutcome::Held { failures: 3 }, "failures in a row are counted on");
        drop(next);
        clock.advance(FAILURE_MEMORY.saturating_sub(Duration::from_secs(2)));
        assert_eq!(failures(&storage, "key 59").await, 3);
        assert_eq!(failures(&storage, "key 7").await, 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(failures(&storage, "key 59").await, 0);
        assert_eq!(
            storage.0.leases.known_keys(),
            0,
            "the storage keeps nothing of keys that are not used any more"
        );

        // The storage also keeps no failures of a key that has a token again.
        fail(&storage, "key", CoolDown::new(Duration::from_secs(60), 3)).await;
        let mut lease = TokenLeases::lease(&storage, "key");
        lease.acquire(CoolDownPolicy::Ignore).await.unwrap();
        lease.store(&TokenData::new("t"), None).await.unwrap();
        drop(lease);
        assert_eq!(storage.0.leases.known_keys(), 0);
    }

    #[tokio::test]
    async fn inv08_the_capacity_bounds_what_is_known_of_failures_too() {
        let storage = InMemoryTokenStorage::builder().capacity(100).build();
        for i in 0..5_000 {
            let seconds = if i == 7 { 3_600 } else { 60 };
            fail(&storage, &format!("key {i}"), CoolDown::new(Duration::from_secs(seconds), 3)).await;
        }
        assert_eq!(storage.0.leases.known_keys(), 100);
        assert_eq!(failures(&storage, "key 7").await, 3, "what lasts longest stays");
        assert_eq!(failures(&storage, "key 8").await, 0);
        for _ in 0..200 {
            fail(&storage, "key 7", CoolDown::new(Duration::from_secs(3_600), 3)).await;
        }
        assert_eq!(storage.0.leases.known_keys(), 100, "one key takes one place");
        let none = InMemoryTokenStorage::builder().capacity(0).build();
        fail(&none, "key", CoolDown::new(Duration::MAX, 3)).await;
        assert_eq!(none.0.leases.known_keys(), 0);
    }

    #[tokio::test]
    async fn eviction_is_no_change() {
        let storage = InMemoryTokenStorage::builder().capacity(1).build();
        storage.set("a", &TokenData::new("t")).await.unwrap();
        let generation = storage.generation("a").unwrap();
        let before = generation.current();
        for i in 0..10 {
            storage.set(&format!("{i}"), &TokenData::new("t")).await.unwrap();
        }
        assert!(!storage.exists("a").await.unwrap());
        assert_eq!(generation.current(), before);
    }

    #[tokio::test]
    async fn clear_forgets_everything_and_tells_everybody() {
        let storage = InMemoryTokenStorage::new();
        storage.set("a", &TokenData::new("t")).await.unwrap();
        let generation = storage.generation("a").unwrap();
        let before = generation.current();
        storage.clear();
        assert!(storage.is_empty());
        assert!(!storage.exists("a").await.unwrap());
        assert!(generation.current().is_next_after(before));
        storage.set("a", &TokenData::new("t")).await.unwrap();
        assert!(storage.exists("a").await.unwrap());
    }

    #[tokio::test]
    async fn inv04_what_was_cleared_while_it_was_fetched_is_not_stored() {
        let storage = InMemoryTokenStorage::new();
        let mut fetching = TokenLeases::lease(&storage, "a");
        fetching.acquire(CoolDownPolicy::Respect).await.unwrap();
        storage.clear();
        assert!(!fetching.store(&TokenData::new("t"), None).await.unwrap());
        assert!(storage.is_empty());
        let mut next = TokenLeases::lease(&storage, "a");
        next.acquire(CoolDownPolicy::Respect).await.unwrap();
        assert!(next.store(&TokenData::new("t"), None).await.unwrap());
    }

    /// The holder takes so long that another manager fetches without the lease.
    #[tokio::test]
    async fn inv04_a_deletion_also_concerns_a_lease_that_was_waited_for_in_vain() {
        for is_deleted_while_waiting in [false, true] {
            let storage = InMemoryTokenStorage::new();
            let mut holder = TokenLeases::lease(&storage, "a");
            holder.acquire(CoolDownPolicy::Respect).await.unwrap();
            let mut waiting = TokenLeases::lease(&storage, "a");
            {
                let mut acquiring = waiting.acquire(CoolDownPolicy::Respect);
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(acquiring.as_mut().poll(&mut context).is_pending());
                if is_deleted_while_waiting {
                    storage.delete("a").await.unwrap();
                    assert!(acquiring.as_mut().poll(&mut context).is_pending());
                }
            }
            // The waiting manager now fetches without the lease.
            if !is_deleted_while_waiting {
                storage.delete("a").await.unwrap();
            }
            drop(holder);
            let is_stored = waiting.store(&TokenData::new("t"), None).await.unwrap();
            assert_eq!(is_stored, is_deleted_while_waiting, "what was fetched before the deletion is not");
        }
    }

    #[tokio::test]
    async fn what_is_of_no_use_takes_no_memory_and_replaces_what_was_there() {
        let storage = InMemoryTokenStorage::new();
        storage.set("a", &TokenData::new("t")).await.unwrap();
        let expired = TokenData::new("t").with_expires_at(Utc::now() - Duration::from_secs(1));
        storage.set("a", &expired).await.unwrap();
        assert!(storage.is_empty());
    }
}
