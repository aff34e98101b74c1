//! A token's whole life over real sockets. The manager renews it before any caller waits, keeps it when a
//! renewal fails, and gets a new one without a restart when the server or the secret is right again.
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
