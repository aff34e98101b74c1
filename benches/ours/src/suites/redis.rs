//! What Redis is asked: round trips, counted by a proxy on the way there, and times beside a GET's.

mod latency;
mod round_trips;

use std::time::Duration;

use forge_tests::RedisServer;
use requestforge::{ConfigError, RedisTokenStorage, TokenManager};

use super::two_workers;
use crate::local::Local;
use crate::{Pace, Result};

/// Longer than the default, which is a bound for outages; here Redis is up, and others may have the
/// processors.
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

/// A manager with nothing at hand, as in a process that has just begun to use this key.
fn manager(storage: &RedisTokenStorage, key: &str) -> std::result::Result<TokenManager, ConfigError> {
    TokenManager::builder(Local).storage(storage.clone()).cache_key(key).build()
}
