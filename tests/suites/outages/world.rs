//! An authorization server, a Redis, a faulty way to it, and the processes that share tokens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, Proxy, RedisServer};
use requestforge::storage::RedisTokenStorageBuilder;
use requestforge::token::TokenManagerBuilder;
use requestforge::{
    ClientCredentialsTokenProvider, Credential, RedisTokenStorage, TokenData, TokenManager, TokenStorage,
};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

/// The cache key of all managers of a world.
pub(crate) const KEY: &str = "crm";

pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) proxy: Proxy,
    pub(crate) issuer: Arc<AuthorizationServer>,
}

/// The faults of a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// The port is closed.
    Refused,
    /// Killed, and restarted at once.
    Restarted,
    /// Frozen.
    Paused,
    /// The port accepts connections, and nothing ever answers.
    BlackHoled,
    /// From the middle of a session nothing comes through. All of it comes later.
    Held,
    /// Commands arrive, answers and announcements don't.
    AnswersLost,
    /// So many milliseconds of delay in each direction.
    Slow(u64),
}

impl World {
    pub(crate) async fn start() -> Self {
        let redis = RedisServer::start().await;
        let proxy = Proxy::start(redis.port()).await.expect("a proxy");
        let issuer = Arc::new(AuthorizationServer::start().await.expect("a server"));
        Self { redis, proxy, issuer }
    }

    /// The storage of a process that no outage cuts off.
    pub(crate) fn near(&self) -> RedisTokenStorage {
        // With time for a busy machine.
        let builder = RedisTokenStorage::builder(self.redis.url()).command_timeout(Duration::from_secs(5));
        builder.build().expect("a storage")
    }

    /// The storage of a process behind the proxy.
    pub(crate) fn far(&self) -> RedisTokenStorageBuilder {
        let url = format!("redis://127.0.0.1:{}", self.proxy.port());
        RedisTokenStorage::builder(&url).command_timeout(PATIENCE)
    }

    /// The storage of a process that meets this outage.
    pub(crate) fn facing(&self, outage: Outage) -> RedisTokenStorageBuilder {
        match outage {
            // Faults that a proxy does not imitate.
            Outage::Refused | Outage::Restarted | Outage::Paused => {
                RedisTokenStorage::builder(self.redis.url()).command_timeout(PATIENCE)
            }
            _ => self.far(),
        }
    }

    pub(crate) fn provider(&self) -> ClientCredentialsTokenProvider {
        let issuer = &self.issuer;
        ClientCredentialsTokenProvider::builder(
            issuer.token_url(),
            issuer.client_id(),
            issuer.client_secret(),
        )
        .service_name("crm")
        .build()
        .expect("a provider")
    }

    /// A manager as in each of the processes that share.
    pub(crate) fn manager(&self, storage: impl TokenStorage + 'static) -> TokenManager {
        self.manager_builder(storage).build().expect("a manager")
    }

    pub(crate) fn manager_builder(&self, storage: impl TokenStorage + 'static) -> TokenManagerBuilder {
        TokenManager::builder(self.provider()).storage(storage).cache_key(KEY)
    }
}

impl Outage {
    pub(crate) async fn begin(self, world: &mut World) {
        match self {
            Self::Refused => world.redis.stop().await,
            Self::Restarted => {
                world.redis.stop().await;
                world.redis.start_again().await;
            }
            Self::Paused => world.redis.pause().await,
            Self::BlackHoled => world.proxy.swallow(),
            Self::Held => world.proxy.hold(),
            Self::AnswersLost => world.proxy.swallow_answers(),
            Self::Slow(millis) => world.proxy.set_delay(Duration::from_millis(millis)),
        }
    }

    /// When this returns, Redis can be reached.
    pub(crate) async fn end(self, world: &mut World) {
        match self {
            Self::Refused => world.redis.start_again().await,
            Self::Restarted => {}
            Self::Paused => world.redis.resume().await,
            _ => world.proxy.pass(),
        }
    }

    /// Whether the stored data survives the outage.
    pub(crate) fn keeps_data(self) -> bool {
        !matches!(self, Self::Refused | Self::Restarted)
    }
}

/// Tests that measure run one at a time.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Rounds of a repeated test: all of them with `FORGE_TEST_LONG`, else a tenth.
pub(crate) fn rounds(all: usize) -> usize {
    if std::env::var_os("FORGE_TEST_LONG").is_some() { all } else { all.div_ceil(10) }
}

/// Waits until the condition holds. Returns how long that took, or `None` if it did not hold within the
/// limit.
pub(crate) async fn until<F: Future<Output = bool>>(
    limit: Duration,
    mut is_so: impl FnMut() -> F,
) -> Option<Duration> {
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

/// The time-out where the test does not measure the default: a busy machine is no outage.
const PATIENCE: Duration = Duration::from_millis(400);

/// The token of this manager, as soon as the others have it too.
pub(crate) async fn shared(manager: &TokenManager, near: &RedisTokenStorage) -> Arc<Credential> {
    let is_shared = || async {
        let token = manager.get_token().await.expect("a token");
        stored(near).await.map(|token| token.id()) == Some(token.id())
    };
    assert!(until(Duration::from_secs(10), is_shared).await.is_some(), "nothing is shared");
    manager.get_token().await.expect("a token")
}

/// The token that a process without an outage finds.
pub(crate) async fn stored(storage: &RedisTokenStorage) -> Option<TokenData> {
    storage.get(KEY).await.ok().flatten()
}
