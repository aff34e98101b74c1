//! An authorization server, a Redis, a way to it that can be out of order, and those who share tokens.

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

/// Under which all managers of a world keep their token.
pub(crate) const KEY: &str = "crm";

pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) proxy: Proxy,
    pub(crate) issuer: Arc<AuthorizationServer>,
}

/// What can be wrong with a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// The port is closed.
    Refused,
    /// Killed, and there again at once.
    Restarted,
    /// Frozen.
    Paused,
    /// Connections are accepted, and nothing is ever answered.
    BlackHoled,
    /// In the middle of a session nothing comes through any more; and all of it later.
    Held,
    /// Commands arrive, answers and announcements don't.
    AnswersLost,
    /// So many milliseconds more, each way.
    Slow(u64),
}

impl World {
    pub(crate) async fn start() -> Self {
        let redis = RedisServer::start().await;
        let proxy = Proxy::start(redis.port()).await.expect("a proxy");
        let issuer = Arc::new(AuthorizationServer::start().await.expect("a server"));
        Self { redis, proxy, issuer }
    }

    /// Of a process that is never cut off.
    pub(crate) fn near(&self) -> RedisTokenStorage {
        // With time for a machine that has others to serve.
        let builder = RedisTokenStorage::builder(self.redis.url()).command_timeout(Duration::from_secs(5));
        builder.build().expect("a storage")
    }

    /// Of a process behind the proxy.
    pub(crate) fn far(&self) -> RedisTokenStorageBuilder {
        let url = format!("redis://127.0.0.1:{}", self.proxy.port());
        RedisTokenStorage::builder(&url).command_timeout(PATIENCE)
    }

    /// Of a process that is to meet with this outage.
    pub(crate) fn facing(&self, outage: Outage) -> RedisTokenStorageBuilder {
        match outage {
            // What a proxy does not imitate.
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

    /// A manager as in any of the processes that share.
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

    /// Whether what was stored before is still there afterwards.
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

/// Waits until it is so. Says how long that took; `None`: it was not so within the limit.
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

/// Where the default is not what is measured: a machine with others to serve is no outage.
const PATIENCE: Duration = Duration::from_millis(400);

/// The token of this manager, when others have it too.
pub(crate) async fn shared(manager: &TokenManager, near: &RedisTokenStorage) -> Arc<Credential> {
    let is_shared = || async {
        let token = manager.get_token().await.expect("a token");
        stored(near).await.map(|token| token.id()) == Some(token.id())
    };
    assert!(until(Duration::from_secs(10), is_shared).await.is_some(), "nothing is shared");
    manager.get_token().await.expect("a token")
}

/// What a process that is not cut off finds.
pub(crate) async fn stored(storage: &RedisTokenStorage) -> Option<TokenData> {
    storage.get(KEY).await.ok().flatten()
}
