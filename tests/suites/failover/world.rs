//! An authorization server, Redis servers, and processes that share tokens through them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, undisturbed};
use requestforge::storage::TokenId;
use requestforge::token::{Clock, SystemClock};
use requestforge::{
    ClientCredentialsTokenProvider, RedisTokenStorage, TokenData, TokenManager, TokenStorage,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::servers::{Kind, Servers};

/// The key of the token that all processes share.
pub(crate) const KEY: &str = "crm";
pub(crate) const PROCESSES: usize = 8;
/// Within this time after the agreement on a new master, processes share tokens again.
pub(crate) const SOON: Duration = Duration::from_secs(2);

pub(crate) struct World {
    pub(crate) servers: Servers,
    pub(crate) issuer: Arc<AuthorizationServer>,
    pub(crate) processes: Vec<Process>,
    /// The number of token calls until all processes had a token.
    calls_before: usize,
}

/// The storage and the manager of one process.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) storage: RedisTokenStorage,
    pub(crate) manager: TokenManager,
}

impl World {
    /// All processes have the same token.
    pub(crate) async fn start(kind: Kind) -> Self {
        let mut world = Self::start_unused(kind).await;
        world.connected().await;
        world.agreed().await;
        world.calls_before = world.issuer.token_calls();
        world
    }

    /// The number of token calls since all processes have a token.
    pub(crate) fn calls(&self) -> usize {
        self.issuer.token_calls() - self.calls_before
    }

    /// Connects all processes first. Other tests measure the first use on a busy machine.
    pub(crate) async fn connected(&self) {
        for process in &self.processes {
            let connected = async || process.storage.get(KEY).await.is_ok();
            assert!(until(Duration::from_secs(10), connected).await.is_some(), "no connection");
        }
    }

    pub(crate) async fn start_unused(kind: Kind) -> Self {
        let (servers, issuer) = tokio::join!(Servers::start(kind), AuthorizationServer::start());
        let mut world = Self {
            servers,
            issuer: Arc::new(issuer.expect("a port")),
            processes: Vec::new(),
            calls_before: 0,
        };
        world.processes = (0..PROCESSES).map(|_| world.process()).collect();
        world
    }

    /// A world in which no test measures a deadline.
    pub(crate) async fn start_patient(kind: Kind) -> Self {
        let mut world = Self::start(kind).await;
        world.processes = (0..PROCESSES).map(|_| world.patient()).collect();
        world.agreed().await;
        world
    }

    pub(crate) fn process(&self) -> Process {
        self.process_with(self.servers.storage().build().expect("a storage"))
    }

    /// A process for which a busy machine is not an outage.
    pub(crate) fn patient(&self) -> Process {
        let storage = self.servers.storage().command_timeout(Duration::from_secs(5));
        self.process_with(storage.build().expect("a storage"))
    }

    pub(crate) fn process_with(&self, storage: RedisTokenStorage) -> Process {
        Process { manager: self.manager(&storage, KEY), storage }
    }

    pub(crate) fn manager(&self, storage: &RedisTokenStorage, key: &str) -> TokenManager {
        let manager = TokenManager::builder(self.provider()).storage(storage.clone()).cache_key(key);
        manager.build().expect("a manager")
    }

    pub(crate) fn provider(&self) -> ClientCredentialsTokenProvider {
        self.provider_with(Arc::new(SystemClock))
    }

    pub(crate) fn provider_with(&self, clock: Arc<dyn Clock>) -> ClientCredentialsTokenProvider {
        let issuer = &self.issuer;
        let (url, id, secret) = (issuer.token_url(), issuer.client_id(), issuer.client_secret());
        let provider = ClientCredentialsTokenProvider::builder(url, id, secret);
        provider.service_name("crm").clock(clock).build().expect("a provider")
    }

    /// The token that all processes use and that Redis stores.
    pub(crate) async fn agreed(&self) -> TokenId {
        let begun = Instant::now();
        loop {
            if let Some(agreed) = self.try_agreed().await {
                return agreed;
            }
            assert!(begun.elapsed() <= Duration::from_secs(10), "they don't agree");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn try_agreed(&self) -> Option<TokenId> {
        let mut ids = HashSet::new();
        for process in &self.processes {
            ids.insert(process.id().await);
        }
        let stored = self.processes[0].stored().await?.id();
        (ids.len() == 1 && ids.contains(&stored)).then_some(stored)
    }
}

impl Process {
    pub(crate) async fn id(&self) -> TokenId {
        self.manager.get_token().await.expect("a token").id()
    }

    /// Whether the next caller gets this token.
    pub(crate) fn has(&self, id: TokenId) -> bool {
        self.manager.cached().is_some_and(|token| token.id() == id)
    }

    pub(crate) async fn stored(&self) -> Option<TokenData> {
        self.storage.get(KEY).await.ok().flatten()
    }
}

/// The key as a server knows it.
pub(crate) fn key_of(key: &str) -> String {
    format!("token:{key}")
}

/// Two tests run at a time: each has six servers or more, and real deadlines.
pub(crate) async fn in_turn<F: Future<Output = ()>>(case: impl Fn() -> F) {
    static TURNS: Semaphore = Semaphore::const_new(2);
    let _turn = TURNS.acquire().await.expect("nobody closes it");
    undisturbed(case).await;
}

/// The number of rounds: all of them with `FORGE_TEST_LONG`.
pub(crate) fn rounds(in_full: usize, else_only: usize) -> usize {
    if is_long() { in_full } else { else_only }
}

pub(crate) fn is_long() -> bool {
    std::env::var_os("FORGE_TEST_LONG").is_some()
}

/// Waits until the condition holds. Returns how long that took, or `None` if it did not hold within the
/// limit.
pub(crate) async fn until(limit: Duration, is_so: impl AsyncFn() -> bool) -> Option<Duration> {
    let begun = Instant::now();
    loop {
        if is_so().await {
            return Some(begun.elapsed());
        }
        if begun.elapsed() > limit {
            return None;
        }
        sleep(Duration::from_millis(5)).await;
    }
}
