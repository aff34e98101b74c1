//! Redis refused, silent, slow, paused, killed and restarted: tokens go on being served, sharing comes back
//! by itself, and nothing stale outlives its bound (invariant 18).

#![allow(clippy::expect_used)]

#[path = "../servers/connection.rs"]
mod connection;
mod ghosts;
mod sharing;
mod slow;
mod stale;
mod under_load;
mod world;
