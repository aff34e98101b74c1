//! A Redis, what stands in it, and an authorization server.

use std::time::Duration;

use forge_tests::{AuthorizationServer, RedisServer};
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Client, Cmd, FromRedisValue, ToRedisArgs, cmd};
use requestforge::{
    ClientCredentialsTokenProvider, RedisTokenStorage, RedisTokenStorageBuilder, TokenManager,
    TokenManagerBuilder, TokenStorage,
};

pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) issuer: AuthorizationServer,
    connection: MultiplexedConnection,
}

impl World {
    pub(crate) async fn start() -> Self {
        let redis = RedisServer::start().await;
        let issuer = AuthorizationServer::start().await.expect("a server");
        let client = Client::open(redis.url()).expect("a client");
        let connection = client.get_multiplexed_async_connection().await.expect("a connection");
        Self { redis, issuer, connection }
    }

    pub(crate) fn storage(&self) -> RedisTokenStorage {
        patient(&self.redis.url()).build().expect("a storage")
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

    /// What somebody else does to the server.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.connection.clone()).await.expect("an answer")
    }

    pub(crate) async fn put(&self, key: &str, value: impl ToRedisArgs) {
        self.run::<()>(cmd("SET").arg(key).arg(value)).await;
    }

    pub(crate) async fn raw(&self, key: &str) -> Option<String> {
        self.run(cmd("GET").arg(key)).await
    }

    pub(crate) async fn seconds_left(&self, key: &str) -> i64 {
        self.run(cmd("TTL").arg(key)).await
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

    /// Connections but our own.
    pub(crate) async fn others_connected(&self) -> usize {
        let clients: String = self.run(cmd("CLIENT").arg("LIST")).await;
        clients.lines().count() - 1
    }
}

/// With time for a machine that has others to serve: deadlines are what the suite `outages` is about.
pub(crate) fn patient(url: &str) -> RedisTokenStorageBuilder {
    RedisTokenStorage::builder(url).command_timeout(Duration::from_secs(5))
}

/// Whether it is so within some seconds.
pub(crate) async fn soon<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) -> bool {
    for _ in 0..600 {
        if is_so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}
