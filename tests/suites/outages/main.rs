//! Redis is refused, silent, slow, paused, killed and restarted. Managers go on to serve tokens, sharing
//! comes back by itself, and managers serve no stale token beyond its bound (invariant 18).

#![allow(clippy::expect_used)]

#[path = "../servers/connection.rs"]
mod connection;
mod ghosts;
mod sharing;
mod slow;
mod stale;
mod under_load;
mod world;
