//! The rules for one Redis server hold for a Redis with sentinels: fleets of real processes, and records
//! there that are not tokens.
//!
//! The suites `fleet` and `redis` run more rounds. Tests about one server stay there: the connections of a
//! storage, records byte by byte, and the example.

#![cfg(unix)]
#![allow(clippy::expect_used)]

// Other suites use the rest of it.
#[allow(dead_code)]
#[path = "../canary/canaries.rs"]
mod canaries;
#[path = "../fleet/chaos.rs"]
mod chaos;
#[path = "../fleet/clocks.rs"]
mod clocks;
#[path = "../fleet/cold.rs"]
mod cold;
#[path = "../redis/conformance.rs"]
mod conformance;
#[path = "../fleet/failures.rs"]
mod failures;
#[path = "../redis/garbage.rs"]
mod garbage;
#[path = "../fleet/invalidations.rs"]
mod invalidations;
#[path = "../fleet/killed.rs"]
mod killed;
// Other suites use the rest of it.
#[allow(dead_code)]
#[path = "../canary/logs.rs"]
mod logs;
#[path = "../redis/marks.rs"]
mod marks;
#[path = "../fleet/member.rs"]
mod member;
#[path = "../fleet/process.rs"]
mod process;
#[path = "../fleet/races.rs"]
mod races;
#[path = "../fleet/random.rs"]
mod random;
#[path = "../fleet/redis.rs"]
mod redis;
#[path = "../fleet/rejected.rs"]
mod rejected;
#[path = "../fleet/relay.rs"]
mod relay;
#[path = "../fleet/rotation.rs"]
mod rotation;
#[path = "../redis/schema.rs"]
mod schema;
#[path = "../servers/sentinel.rs"]
mod servers;
#[path = "../redis/side_data.rs"]
mod side_data;
#[path = "../fleet/stopped.rs"]
mod stopped;
#[path = "../fleet/times.rs"]
mod times;
#[path = "../redis/world.rs"]
mod world;

use std::sync::Arc;

/// Keeps the servers for the tests that follow. One test uses them at a time.
async fn alone() -> Arc<forge_tests::RedisSentinel> {
    servers::stay().await
}

/// The number of rounds: all of them with `FORGE_TEST_LONG`, as `cargo xtask test --long` sets it; otherwise
/// fewer than in the suite `fleet`.
fn rounds(in_full: usize, at_one_server: usize) -> usize {
    if std::env::var_os("FORGE_TEST_LONG").is_some() { in_full } else { at_one_server.div_ceil(5) }
}
