//! A Redis master that sentinels watch over.

#[path = "connection.rs"]
mod connection;
#[path = "shared.rs"]
mod shared;

use std::sync::Arc;

use forge_tests::RedisSentinel;
use forge_tests::fleet::Topology;
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Cmd, FromRedisValue, cmd};
use tokio::sync::MutexGuard;

use connection::connection;
use shared::SharedServer;

pub(crate) struct Servers {
    master: MultiplexedConnection,
    _turn: MutexGuard<'static, ()>,
    redis: Arc<RedisSentinel>,
}

static SHARED: SharedServer<RedisSentinel> = SharedServer::new();

/// The servers, for tests that will soon have a turn.
pub(crate) async fn stay() -> Arc<RedisSentinel> {
    SHARED.servers(async || RedisSentinel::start().await).await
}

impl Servers {
    /// Empties the servers. No other test uses them until this value is dropped.
    pub(crate) async fn start() -> Self {
        let redis = stay().await;
        let turn = SHARED.turn().await;
        let mut master = connection(&redis.master().await.url()).await;
        cmd("FLUSHALL").arg("SYNC").exec_async(&mut master).await.expect("an answer");
        Self { master, _turn: turn, redis }
    }

    pub(crate) fn topology(&self) -> Topology {
        let master_name = self.redis.master_name().to_owned();
        Topology::Sentinel { urls: self.redis.sentinel_urls(), master_name }
    }

    /// Runs a command of another program. If the command has a key, the key is its first argument.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.master.clone()).await.expect("an answer")
    }
}
