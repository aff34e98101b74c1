//! Servers of either kind. Another server takes over when the master is gone.

use std::time::Duration;

use forge_tests::{RedisCluster, RedisNode, RedisSentinel};
use requestforge::RedisTokenStorage;
use requestforge::redis::{FromRedisValue, cmd};
use requestforge::storage::RedisTokenStorageBuilder;

use crate::connection::connection;
use crate::world::{is_long, key_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sentinel,
    Cluster,
}

/// How a master goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Killed,
    Paused,
}

pub(crate) enum Servers {
    Sentinel(RedisSentinel),
    Cluster(RedisCluster),
}

/// The test uses this recheck time. The library promises to find a silent connection within
/// [`SOON`](crate::world::SOON) for no longer one: with a longer one it checks connections less often.
const RECHECK_AFTER: Duration = Duration::from_secs(4);

impl Kind {
    fn other(self) -> Self {
        match self {
            Self::Sentinel => Self::Cluster,
            Self::Cluster => Self::Sentinel,
        }
    }
}

impl Loss {
    fn other(self) -> Self {
        match self {
            Self::Killed => Self::Paused,
            Self::Paused => Self::Killed,
        }
    }
}

/// Runs one case. With `FORGE_TEST_LONG` it also runs the other kind and the other loss, side by side.
pub(crate) async fn try_with(kind: Kind, loss: Loss, case: impl AsyncFn(Kind, Loss)) {
    if is_long() {
        let (other, otherwise) = (kind.other(), loss.other());
        tokio::join!(case(kind, loss), case(kind, otherwise), case(other, loss), case(other, otherwise));
    } else {
        case(kind, loss).await;
    }
}

impl Servers {
    pub(crate) async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Sentinel => Self::Sentinel(RedisSentinel::start().await),
            Kind::Cluster => Self::Cluster(RedisCluster::start().await),
        }
    }

    pub(crate) fn storage(&self) -> RedisTokenStorageBuilder {
        let storage = match self {
            Self::Sentinel(redis) => RedisTokenStorage::sentinel(redis.sentinel_urls(), redis.master_name()),
            Self::Cluster(redis) => RedisTokenStorage::cluster(redis.urls()),
        };
        storage.recheck_after(RECHECK_AFTER)
    }

    /// The master that has this key.
    pub(crate) async fn master(&self, key: &str) -> RedisNode {
        match self {
            Self::Sentinel(redis) => redis.master().await,
            Self::Cluster(redis) => redis.master_of(&key_of(key)).await,
        }
    }

    pub(crate) async fn lose(&mut self, node: RedisNode, loss: Loss) {
        match (self, loss) {
            (Self::Sentinel(redis), Loss::Killed) => redis.kill(node).await,
            (Self::Sentinel(redis), Loss::Paused) => redis.pause(node).await,
            (Self::Cluster(redis), Loss::Killed) => redis.kill(node).await,
            (Self::Cluster(redis), Loss::Paused) => redis.pause(node).await,
        }
    }

    pub(crate) async fn bring_back(&mut self, node: RedisNode, loss: Loss) {
        match (self, loss) {
            (Self::Sentinel(redis), Loss::Killed) => redis.start_again(node).await,
            (Self::Sentinel(redis), Loss::Paused) => redis.resume(node).await,
            (Self::Cluster(redis), Loss::Killed) => redis.start_again(node).await,
            (Self::Cluster(redis), Loss::Paused) => redis.resume(node).await,
        }
    }

    /// The new master of this key, as soon as all nodes agree on it.
    pub(crate) async fn failed_over(&self, key: &str) -> RedisNode {
        match self {
            Self::Sentinel(redis) => redis.failed_over().await,
            Self::Cluster(redis) => redis.failed_over(&key_of(key)).await,
        }
    }

    /// Returns when all servers are back, each in its role.
    pub(crate) async fn ready(&self) {
        match self {
            Self::Sentinel(redis) => redis.ready().await,
            Self::Cluster(redis) => redis.ready().await,
        }
    }

    pub(crate) fn sentinel(&mut self) -> &mut RedisSentinel {
        let Self::Sentinel(redis) = self else { panic!("no sentinels") };
        redis
    }

    pub(crate) fn cluster(&self) -> &RedisCluster {
        let Self::Cluster(redis) = self else { panic!("no cluster") };
        redis
    }
}

/// Sends one node a command without the library.
pub(crate) async fn tell<T: FromRedisValue>(node: RedisNode, words: &[&str]) -> T {
    let mut connection = connection(&node.url()).await;
    let mut command = cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.expect("an answer")
}
