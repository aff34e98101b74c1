//! Reads the contents of Redis without the library.

use std::time::{Duration, Instant};

use forge_tests::fleet::{Topology, name};
use requestforge::redis::cmd;
use requestforge::storage::TokenId;
use serde_json::Value;

use crate::servers::Servers;

/// The prefix of all keys.
pub(crate) const PREFIX: &str = "fleet";

pub(crate) struct Redis {
    pub(crate) servers: Servers,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        Self { servers: Servers::start().await }
    }

    pub(crate) fn topology(&self) -> Topology {
        self.servers.topology()
    }

    /// The record as Redis stores it.
    pub(crate) async fn record(&self, key: &str) -> Option<String> {
        self.get(&format!("{PREFIX}:{key}")).await
    }

    /// The name of the stored token.
    pub(crate) async fn token(&self, key: &str) -> Option<String> {
        let record: Value = serde_json::from_str(&self.record(key).await?).expect("JSON");
        Some(name(TokenId::of(record["access_token"].as_str().expect("a token"))))
    }

    /// The holder of the lease.
    pub(crate) async fn holder(&self, key: &str) -> Option<String> {
        self.get(&format!("{{{PREFIX}:{key}}}:lease")).await
    }

    pub(crate) async fn has_cool_down(&self, key: &str) -> bool {
        self.servers.run(cmd("EXISTS").arg(format!("{{{PREFIX}:{key}}}:cool-down"))).await
    }

    /// The server's time, in milliseconds since 1970.
    pub(crate) async fn now(&self) -> i64 {
        let (seconds, micros): (i64, i64) = self.servers.run(&cmd("TIME")).await;
        seconds * 1_000 + micros / 1_000
    }

    /// The time that the server of this key takes to answer.
    pub(crate) async fn way(&self, key: &str) -> Duration {
        let asked = Instant::now();
        self.holder(key).await;
        asked.elapsed()
    }

    async fn get(&self, key: &str) -> Option<String> {
        self.servers.run(cmd("GET").arg(key)).await
    }
}
