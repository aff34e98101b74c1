//! Many replicas in one process. Each has a storage, a manager and a clock of its own.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::AuthorizationServer;
use futures_util::future::join_all;
use requestforge::storage::RedisTokenStorageBuilder;
use requestforge::testing::ManualClock;
use requestforge::{ClientCredentialsTokenProvider, Credential, RedisTokenStorage, TokenManager};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub(crate) const MANY: usize = 500;
/// The cache key of all replicas.
pub(crate) const KEY: &str = "crm";
/// The life of each token. Its advisory window begins after 57 seconds at the latest.
pub(crate) const LIFE: Duration = Duration::from_secs(120);

pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Replica>,
}

/// A test cannot move the clock of Redis, so the storage uses the machine's clock.
pub(crate) struct Replica {
    pub(crate) storage: RedisTokenStorage,
    pub(crate) manager: TokenManager,
    pub(crate) clock: Arc<ManualClock>,
}

impl Fleet {
    /// Makes the replicas. They ask no server yet.
    pub(crate) fn of(
        size: usize,
        issuer: &AuthorizationServer,
        storage: impl Fn() -> RedisTokenStorageBuilder,
    ) -> Self {
        Self { replicas: (0..size).map(|_| Replica::new(issuer, storage(), KEY)).collect() }
    }

    /// Each replica uses its token once, all at the same time. Returns the number of different tokens.
    pub(crate) async fn use_token(&self) -> usize {
        let mut using = JoinSet::new();
        for replica in &self.replicas {
            let manager = replica.manager.clone();
            using.spawn(async move { manager.get_token().await.expect("a token") });
        }
        let mut tokens: Vec<_> = using.join_all().await.iter().map(|token| *token.id().as_bytes()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens.len()
    }

    /// Each replica uses its token for the first time, a batch at a time.
    pub(crate) async fn start(&self) {
        for batch in self.replicas.chunks(50) {
            join_all(batch.iter().map(Replica::token)).await;
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        for replica in &self.replicas {
            replica.clock.advance(by);
        }
    }
}

impl Replica {
    pub(crate) fn new(issuer: &AuthorizationServer, storage: RedisTokenStorageBuilder, key: &str) -> Self {
        let (clock, storage) = (Arc::new(ManualClock::new()), storage.build().expect("a storage"));
        let provider = ClientCredentialsTokenProvider::builder(
            issuer.token_url(),
            issuer.client_id(),
            issuer.client_secret(),
        );
        let provider = provider.clock(Arc::clone(&clock) as _).build().expect("a provider");
        let manager = TokenManager::builder(provider).storage(storage.clone()).cache_key(key);
        let manager = manager.clock(Arc::clone(&clock) as _).build().expect("a manager");
        Self { storage, manager, clock }
    }

    /// Whether the next use has to ask for a token.
    pub(crate) fn has_none(&self) -> bool {
        self.manager.cached().is_none()
    }

    pub(crate) async fn token(&self) -> Arc<Credential> {
        self.manager.get_token().await.expect("a token")
    }
}

/// Deadlines for 500 replicas in one process: the test does not measure them.
pub(crate) fn patient(builder: RedisTokenStorageBuilder) -> RedisTokenStorageBuilder {
    builder.command_timeout(Duration::from_secs(5))
}

/// Stores a token before the fleet starts.
pub(crate) async fn sow(issuer: &AuthorizationServer, storage: RedisTokenStorageBuilder) {
    Replica::new(issuer, storage, KEY).token().await;
}

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}
