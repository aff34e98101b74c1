//! Another server replaces a master while processes use its tokens, by sentinels and in a cluster. No call
//! fails, no process fetches a token without need, and all processes see what one of them changes afterwards
//! (invariants 4, 18 and 19).

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
