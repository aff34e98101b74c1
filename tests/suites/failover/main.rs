//! Masters that are replaced while their tokens are in use, by sentinels and in a cluster: no call fails, no
//! token is fetched without need, and what one process changes afterwards all others see (invariants 4, 18
//! and 19).

#![allow(clippy::expect_used)]

mod changes;
#[path = "../servers/connection.rs"]
mod connection;
mod idle;
mod load;
mod mid_lease;
mod moving;
mod needed;
mod newest;
mod servers;
mod settings;
mod start;
#[path = "../fleet/times.rs"]
mod times;
mod trouble;
mod under_load;
mod world;
