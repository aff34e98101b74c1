//! A token's whole life over real sockets: renewed before anyone waits, kept when a renewal fails, and
//! back without a restart when the server or the secret is mended.
//!
//! `FORGE_TEST_LONG` adds a real minute's life, by the machine's clock.

#![allow(clippy::expect_used)]

mod clocks;
mod outages;
mod pace;
mod refresh_tokens;
mod rotations;
mod secrets;
mod warm_up;
mod world;
