//! A token in Redis, read by redis-rs: each time over the network, or through its client-side cache.

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;

use super::Peer;
use crate::Failure;

pub struct RedisCache(MultiplexedConnection);

impl RedisCache {
    /// Connects to this server, and stores a token there.
    pub async fn connect(url: &str, is_cached: bool) -> Result<Self, Failure> {
        let client = redis::Client::open(format!("{url}/?protocol=resp3"))?;
        let mut config = AsyncConnectionConfig::new();
        if is_cached {
            config = config.set_cache_config(CacheConfig::default());
        }
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("SET").arg(KEY).arg(format!("{:040}", 0)).exec_async(&mut connection).await?;
        Ok(Self(connection))
    }
}

impl Peer for RedisCache {
    type Token = String;
    type Error = Failure;

    async fn token(&self) -> Result<Self::Token, Failure> {
        // Clones share the connection. Commands take it by `&mut`.
        Ok(redis::cmd("GET").arg(KEY).query_async(&mut self.0.clone()).await?)
    }
}

const KEY: &str = "token";
