//! One Redis server.

#[path = "connection.rs"]
pub(crate) mod connection;

use forge_tests::RedisServer;
use forge_tests::fleet::Topology;
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Cmd, FromRedisValue};

use connection::connection;

pub(crate) struct Servers {
    pub(crate) server: RedisServer,
    connection: MultiplexedConnection,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let server = RedisServer::start().await;
        let connection = connection(&server.url()).await;
        Self { server, connection }
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::One(self.server.url())
    }

    /// Runs a command of another program. If the command has a key, the key is its first argument.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.connection.clone()).await.expect("an answer")
    }
}
