//! The load on Redis: round trips, counted by a proxy, and times compared with that of a GET.

mod latency;
mod round_trips;

use std::time::Duration;

use forge_tests::RedisServer;
use requestforge::{ConfigError, RedisTokenStorage, TokenManager};

use super::two_workers;
use crate::local::Local;
use crate::{Pace, Result};

/// Longer than the default, which limits the delay of an outage. Here Redis is up, and other programs may
/// occupy the processors.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn run(pace: Pace) -> Result<()> {
    two_workers()?.block_on(async {
        let redis = RedisServer::try_start_with(&[]).await?;
        round_trips::count(&redis, pace.rounds(20, 100)).await?;
        latency::measure(&redis, pace.rounds(1_000, 10_000)).await
    })
}

fn storage(url: &str) -> std::result::Result<RedisTokenStorage, ConfigError> {
    RedisTokenStorage::builder(url).command_timeout(COMMAND_TIMEOUT).build()
}

/// A manager without a cached token, as in a process that has just begun to use this key.
fn manager(storage: &RedisTokenStorage, key: &str) -> std::result::Result<TokenManager, ConfigError> {
    TokenManager::builder(Local).storage(storage.clone()).cache_key(key).build()
}
