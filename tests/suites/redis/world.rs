//! A Redis, its contents, and an authorization server.

use std::time::Duration;

use forge_tests::AuthorizationServer;
use requestforge::redis::{Cmd, FromRedisValue, ToRedisArgs, cmd};
use requestforge::storage::RedisTokenStorageBuilder;
use requestforge::token::TokenManagerBuilder;
use requestforge::{ClientCredentialsTokenProvider, RedisTokenStorage, TokenManager, TokenStorage};

use crate::servers::Servers;

/// A time-out for a busy machine. The suite `outages` is about deadlines.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct World {
    pub(crate) redis: Servers,
    pub(crate) issuer: AuthorizationServer,
}

impl World {
    pub(crate) async fn start() -> Self {
        let issuer = AuthorizationServer::start().await.expect("a server");
        Self { redis: Servers::start().await, issuer }
    }

    pub(crate) fn storage(&self) -> RedisTokenStorage {
        self.builder().build().expect("a storage")
    }

    pub(crate) fn builder(&self) -> RedisTokenStorageBuilder {
        self.redis.topology().storage().command_timeout(PATIENCE)
    }

    pub(crate) fn manager(&self, key: &str, storage: impl TokenStorage + 'static) -> TokenManager {
        self.manager_builder(key, storage).build().expect("a manager")
    }

    pub(crate) fn manager_builder(
        &self,
        key: &str,
        storage: impl TokenStorage + 'static,
    ) -> TokenManagerBuilder {
        TokenManager::builder(self.provider()).storage(storage).cache_key(key)
    }

    pub(crate) fn provider(&self) -> ClientCredentialsTokenProvider {
        let issuer = &self.issuer;
        let builder = ClientCredentialsTokenProvider::builder(
            issuer.token_url(),
            issuer.client_id(),
            issuer.client_secret(),
        );
        builder.service_name("crm").build().expect("a provider")
    }

    /// Runs a command of another program. If the command has a key, the key is its first argument.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.redis.run(command).await
    }

    pub(crate) async fn put(&self, key: &str, value: impl ToRedisArgs) {
        self.run::<()>(cmd("SET").arg(key).arg(value)).await;
    }

    pub(crate) async fn raw(&self, key: &str) -> Option<String> {
        self.run(cmd("GET").arg(key)).await
    }

    pub(crate) async fn field(&self, key: &str, field: &str) -> Option<String> {
        self.run(cmd("HGET").arg(key).arg(field)).await
    }

    pub(crate) async fn set_fields(&self, key: &str, fields: &[(&str, &str)]) {
        let mut command = cmd("HSET");
        command.arg(key);
        for (field, value) in fields {
            command.arg(field).arg(value);
        }
        self.run::<()>(&command).await;
    }
}

/// Whether the condition holds within some seconds.
pub(crate) async fn soon<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) -> bool {
    for _ in 0..600 {
        if is_so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}
