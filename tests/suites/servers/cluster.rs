//! A Redis Cluster.

#[path = "connection.rs"]
mod connection;
#[path = "shared.rs"]
mod shared;

use std::collections::HashMap;
use std::sync::Arc;

use forge_tests::RedisCluster;
use forge_tests::fleet::Topology;
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Cmd, FromRedisValue, RedisError, Value, cmd, from_redis_value_ref};
use tokio::sync::MutexGuard;

use connection::connection;
use shared::SharedServer;

pub(crate) struct Servers {
    /// The connections of all nodes, by their ports.
    connections: HashMap<u16, MultiplexedConnection>,
    masters: Vec<u16>,
    _turn: MutexGuard<'static, ()>,
    cluster: Arc<RedisCluster>,
}

static SHARED: SharedServer<RedisCluster> = SharedServer::new();

/// The cluster, for tests that will soon have a turn.
pub(crate) async fn stay() -> Arc<RedisCluster> {
    SHARED.servers(async || RedisCluster::start().await).await
}

impl Servers {
    /// Empties the servers. No other test uses them until this value is dropped.
    pub(crate) async fn start() -> Self {
        let cluster = stay().await;
        let turn = SHARED.turn().await;
        let (mut connections, mut masters) = (HashMap::new(), Vec::new());
        for node in cluster.nodes() {
            let mut connection = connection(&node.url()).await;
            let role: Vec<Value> = cmd("ROLE").query_async(&mut connection).await.expect("an answer");
            if from_redis_value_ref::<String>(&role[0]).expect("a word") == "master" {
                cmd("FLUSHALL").arg("SYNC").exec_async(&mut connection).await.expect("an answer");
                masters.push(node.port());
            }
            connections.insert(node.port(), connection);
        }
        Self { connections, masters, _turn: turn, cluster }
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::Cluster(self.cluster.urls())
    }

    /// Runs a command of another program. If the command has a key, the key is its first argument.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let first = self.ask(self.masters[0], command).await;
        let answer = match first.as_ref().err().and_then(RedisError::redirect_node) {
            Some((node, _)) => self.ask(port(node), command).await,
            None => first,
        };
        answer.expect("an answer")
    }

    /// How many keys each master has.
    pub(crate) async fn sizes(&self) -> Vec<usize> {
        let mut sizes = Vec::new();
        for master in &self.masters {
            sizes.push(self.ask(*master, &cmd("DBSIZE")).await.expect("an answer"));
        }
        sizes
    }

    async fn ask<T: FromRedisValue>(&self, port: u16, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.connections[&port].clone()).await
    }
}

/// The port of `host:port`.
fn port(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}
