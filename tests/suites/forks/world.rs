//! The messages between the test and the process that forks.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use forge_tests::fleet::now;
use forge_tests::{Api, AuthorizationServer, RedisServer};
use requestforge::{PasswordGrantTokenProvider, RedisTokenStorage, TokenData, TokenManager, TokenStorage};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

/// The environment variable that holds the order for the process that forks.
const VARIABLE: &str = "FORGE_FORKS";
pub(crate) const PREFIX: &str = "forks";
/// The cache key that all workers share.
pub(crate) const KEY: &str = "crm";
/// The number of forked children; the process that forks is a worker too.
pub(crate) const CHILDREN: usize = 2;
/// Time for processes to start and to be ready.
const START: Duration = Duration::from_secs(2);
/// A limit that even a slow machine keeps.
const PATIENCE: Duration = Duration::from_secs(60);

/// The order for the workers, with the servers that they use.
pub(crate) struct Order(Value);

impl Order {
    /// `None`: this is the process of the test.
    pub(crate) fn given() -> Option<Self> {
        let order = std::env::var(VARIABLE).ok()?;
        Some(Self(serde_json::from_str(&order).expect("an order")))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().expect("a text")
    }

    /// The moment at which all workers begin, as [`now`] counts.
    pub(crate) fn at(&self) -> u64 {
        self.0["at"].as_u64().expect("a moment")
    }

    /// The storage of each worker. Only announcements tell it of a change.
    pub(crate) fn storage(&self) -> RedisTokenStorage {
        let hour = Duration::from_secs(3_600);
        let builder = RedisTokenStorage::builder(self.text("redis")).key_prefix(PREFIX);
        let builder = builder.command_timeout(Duration::from_secs(2)).recheck_after(hour).trusted_for(hour);
        builder.build().expect("a storage")
    }

    pub(crate) fn provider(&self) -> PasswordGrantTokenProvider {
        let [url, client, secret, user, password] =
            ["token_url", "client_id", "client_secret", "username", "password"].map(|name| self.text(name));
        let builder = PasswordGrantTokenProvider::builder(url, client, secret, user, password);
        builder.build().expect("a provider")
    }
}

/// Servers that no other test uses.
pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) issuer: AuthorizationServer,
    api: Api,
}

impl World {
    pub(crate) async fn start() -> Self {
        let issuer = AuthorizationServer::start().await.expect("a server");
        issuer.set_refresh_tokens(true);
        let api = Api::start(&issuer).await.expect("a server");
        Self { redis: RedisServer::start().await, issuer, api }
    }

    /// Lets the workers do this work, and returns the report of each.
    pub(crate) async fn fork(&self, work: &str) -> Vec<Value> {
        let order = self.order(work).0.to_string();
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.env(VARIABLE, order).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let worked = command.spawn().expect("a process").wait_with_output();
        let worked = timeout(PATIENCE, worked).await.expect("workers that come to an end").expect("an end");
        let told = String::from_utf8(worked.stdout).expect("text");
        let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        println!("{work}: {told:?}");
        assert!(worked.status.success(), "a worker failed: {}", worked.status);
        let workers: BTreeSet<_> = told.iter().filter_map(|told| told["worker"].as_u64()).collect();
        assert_eq!(workers.len(), CHILDREN + 1);
        told
    }

    /// Stores an expired token with a refresh token. All workers find it in Redis.
    pub(crate) async fn store_an_expired_token(&self) {
        let order = self.order("");
        let token = TokenManager::new(order.provider()).get_token().await.expect("a token");
        let token = token.token().clone();
        let expired = chrono::Utc::now() - Duration::from_secs(3_600);
        self.store(&token.with_expires_at(expired)).await;
    }

    pub(crate) async fn store(&self, token: &TokenData) {
        self.order("").storage().set(KEY, token).await.expect("Redis is there");
    }

    fn order(&self, work: &str) -> Order {
        let at = now() + u64::try_from(START.as_nanos()).expect("a number");
        Order(json!({
            "work": work,
            "at": at,
            "redis": self.redis.url(),
            "api": self.api.base_url(),
            "token_url": self.issuer.token_url(),
            "client_id": self.issuer.client_id(),
            "client_secret": self.issuer.client_secret(),
            "username": self.issuer.username(),
            "password": self.issuer.password(),
        }))
    }
}
