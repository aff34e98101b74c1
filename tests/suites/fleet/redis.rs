//! What stands in Redis, looked at without the library.

use std::time::{Duration, Instant};

use forge_tests::RedisServer;
use forge_tests::fleet::name;
use requestforge::TokenId;
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Client, cmd};
use serde_json::Value;

/// The prefix of all keys.
pub(crate) const PREFIX: &str = "fleet";

pub(crate) struct Redis {
    server: RedisServer,
    connection: MultiplexedConnection,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let server = RedisServer::start().await;
        let client = Client::open(server.url()).expect("a client");
        let connection = client.get_multiplexed_async_connection().await.expect("a connection");
        Self { server, connection }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// The record as it is.
    pub(crate) async fn record(&self, key: &str) -> Option<String> {
        self.get(&format!("{PREFIX}:{key}")).await
    }

    /// What names the stored token.
    pub(crate) async fn token(&self, key: &str) -> Option<String> {
        let record: Value = serde_json::from_str(&self.record(key).await?).expect("JSON");
        Some(name(TokenId::of(record["access_token"].as_str().expect("a token"))))
    }

    /// Who holds the lease.
    pub(crate) async fn holder(&self, key: &str) -> Option<String> {
        self.get(&format!("{{{PREFIX}:{key}}}:lease")).await
    }

    pub(crate) async fn has_cool_down(&self, key: &str) -> bool {
        let mut asked = cmd("EXISTS");
        asked.arg(format!("{{{PREFIX}:{key}}}:cool-down"));
        asked.query_async(&mut self.connection.clone()).await.expect("an answer")
    }

    /// Its time, in milliseconds since 1970.
    pub(crate) async fn now(&self) -> i64 {
        let mut connection = self.connection.clone();
        let (seconds, micros): (i64, i64) =
            cmd("TIME").query_async(&mut connection).await.expect("an answer");
        seconds * 1_000 + micros / 1_000
    }

    /// How long it takes to answer.
    pub(crate) async fn way(&self) -> Duration {
        let asked = Instant::now();
        let answer: String = cmd("PING").query_async(&mut self.connection.clone()).await.expect("an answer");
        assert_eq!(answer, "PONG");
        asked.elapsed()
    }

    async fn get(&self, key: &str) -> Option<String> {
        cmd("GET").arg(key).query_async(&mut self.connection.clone()).await.expect("an answer")
    }
}
