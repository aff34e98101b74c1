//! One Redis server.

use forge_tests::RedisServer;
use forge_tests::fleet::Topology;
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Client, Cmd, FromRedisValue};

pub(crate) struct Servers {
    pub(crate) server: RedisServer,
    connection: MultiplexedConnection,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let server = RedisServer::start().await;
        let client = Client::open(server.url()).expect("a client");
        let connection = client.get_multiplexed_async_connection().await.expect("a connection");
        Self { server, connection }
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::One(self.server.url())
    }

    /// What somebody else does. If it has a key, that is the first argument.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.connection.clone()).await.expect("an answer")
    }
}
