//! Providers and storages for these tests. Each of their steps lets shuttle switch tasks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use forge_core::{
    AuthenticationError, CachingProvider, CompareAndDelete, CoolDown, CoolDownPolicy, Credential, Generation,
    LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, StorageError, TokenData, TokenId, TokenLease,
    TokenLeases, TokenProvider, TokenStorage, async_trait,
};
use forge_storage_memory::InMemoryTokenStorage;
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};

/// Runs the scenario in many orders: random ones, and ones with few but nasty preemptions. Each plain run
/// tries the same orders. With `FORGE_TEST_LONG` set, each run tries twenty times as many, and different
/// ones.
pub(crate) fn explore<F>(scenario: fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut config = shuttle::Config::new();
    // The default of 32 KiB is too little for futures of a debug build.
    config.stack_size = 512 * 1024;
    let run = move || block_on(scenario());
    if std::env::var_os("FORGE_TEST_LONG").is_some() {
        shuttle::Runner::new(RandomScheduler::new(10_000), config.clone()).run(run);
        shuttle::Runner::new(PctScheduler::new(3, 10_000), config).run(run);
    } else {
        shuttle::Runner::new(RandomScheduler::new_from_seed(SEED, 500), config.clone()).run(run);
        shuttle::Runner::new(PctScheduler::new_from_seed(SEED, 3, 500), config).run(run);
    }
}

const SEED: u64 = 20_261_121;

pub(crate) async fn join_all<F>(tasks: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let tasks: Vec<_> = tasks.map(spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

/// Lets others go ahead by a random number of steps.
pub(crate) async fn pause() {
    for _ in 0..thread_rng().gen_range(0..16) {
        yield_now().await;
    }
}

/// Polls a future up to three times, then drops it.
pub(crate) async fn poll_a_few_times(future: impl Future) {
    let mut polls: u32 = thread_rng().gen_range(1..4);
    let mut future = pin!(future);
    poll_fn(|context| {
        polls -= 1;
        let done = future.as_mut().poll(context).is_ready();
        if done || polls == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Hands out `t1`, `t2`, …
#[derive(Default)]
pub(crate) struct CountingProvider {
    fetches: AtomicU64,
    panic_next: AtomicBool,
}

impl CountingProvider {
    pub(crate) fn panicking_once() -> Self {
        Self { fetches: AtomicU64::new(0), panic_next: AtomicBool::new(true) }
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}

pub(crate) fn number(token: &Credential) -> u64 {
    token.access_token().trim_start_matches('t').parse().expect("a number")
}

#[async_trait]
impl TokenProvider for CountingProvider {
    fn service_name(&self) -> &'static str {
        "counting"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        yield_now().await;
        assert!(!self.panic_next.swap(false, Ordering::SeqCst), "on purpose");
        yield_now().await;
        Ok(TokenData::new(format!("t{number}")))
    }
}

/// Hands out `t1`, `t2`, …, and each again until it is told to forget it, as a pipeline does.
#[derive(Default)]
pub(crate) struct HoardingProvider {
    fetches: AtomicU64,
    at_hand: std::sync::Mutex<Option<u64>>,
}

impl HoardingProvider {
    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenProvider for HoardingProvider {
    fn service_name(&self) -> &'static str {
        "hoarding"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        yield_now().await;
        let number = *self
            .at_hand
            .lock()
            .expect("no panic")
            .get_or_insert_with(|| self.fetches.fetch_add(1, Ordering::SeqCst) + 1);
        yield_now().await;
        Ok(TokenData::new(format!("t{number}")))
    }

    fn caching(&self) -> Option<&dyn CachingProvider> {
        Some(self)
    }
}

#[async_trait]
impl CachingProvider for HoardingProvider {
    async fn forget_token(&self) -> Result<(), AuthenticationError> {
        yield_now().await;
        *self.at_hand.lock().expect("no panic") = None;
        yield_now().await;
        Ok(())
    }
}

/// A storage in which others get their turn before and after each step. Clones share its faults.
#[derive(Clone, Debug)]
pub(crate) struct YieldingStorage {
    inner: InMemoryTokenStorage,
    announced: bool,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    no_reads: AtomicBool,
    no_writes: AtomicBool,
}

impl YieldingStorage {
    pub(crate) fn announced(inner: InMemoryTokenStorage) -> Self {
        Self { inner, announced: true, faults: Arc::default() }
    }

    pub(crate) fn unannounced(inner: InMemoryTokenStorage) -> Self {
        Self { inner, announced: false, faults: Arc::default() }
    }

    /// From now on all reads fail.
    pub(crate) fn refuse_reads(&self) {
        self.faults.no_reads.store(true, Ordering::SeqCst);
    }

    /// From now on all writes fail.
    pub(crate) fn refuse_writes(&self) {
        self.faults.no_writes.store(true, Ordering::SeqCst);
    }
}

impl Faults {
    fn read<T>(&self, read: T) -> Result<T, StorageError> {
        if self.no_reads.load(Ordering::SeqCst) { Err(StorageError::new("unreadable")) } else { Ok(read) }
    }

    fn check_writes(&self) -> Result<(), StorageError> {
        if self.no_writes.load(Ordering::SeqCst) { Err(StorageError::new("read-only")) } else { Ok(()) }
    }
}

async fn in_turn<F: Future>(step: F) -> F::Output {
    yield_now().await;
    let output = step.await;
    yield_now().await;
    output
}

#[async_trait]
impl TokenStorage for YieldingStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        in_turn(async { self.faults.read(self.inner.get(key).await?) }).await
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.faults.check_writes()?;
        in_turn(self.inner.set(key, token)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.faults.check_writes()?;
        in_turn(self.inner.delete(key)).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        in_turn(async { self.faults.read(self.inner.exists(key).await?) }).await
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        self.inner.generation(key).filter(|_| self.announced)
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        Some(self)
    }
}

#[async_trait]
impl CompareAndDelete for YieldingStorage {
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        self.faults.check_writes()?;
        in_turn(self.inner.delete_if(key, id)).await
    }
}

impl TokenLeases for YieldingStorage {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        let inner = self.inner.leases().expect("it has leases").lease(key);
        Box::new(YieldingLease { inner, faults: Arc::clone(&self.faults) })
    }
}

struct YieldingLease {
    inner: Box<dyn TokenLease>,
    faults: Arc<Faults>,
}

#[async_trait]
impl TokenLease for YieldingLease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        in_turn(self.inner.acquire(policy)).await
    }

    fn take_read(&mut self) -> LeaseRead {
        self.inner.take_read()
    }

    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        in_turn(self.inner.mark_refresh_token(id, takeover)).await
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        in_turn(self.inner.clear_mark(id)).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        self.faults.check_writes()?;
        in_turn(self.inner.store(token, read)).await
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        in_turn(self.inner.fail(cool_down)).await
    }
}
