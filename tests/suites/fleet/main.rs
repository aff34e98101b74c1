//! Fleets of real processes share their tokens through one Redis. Processes die, stop, have a wrong secret
//! or a wrong clock.

#![cfg(unix)]
#![allow(clippy::expect_used)]

mod chaos;
mod clocks;
mod cold;
mod example;
mod failures;
mod invalidations;
mod killed;
mod member;
mod process;
mod races;
mod random;
mod redis;
mod rejected;
mod relay;
mod rotation;
#[path = "../servers/one.rs"]
mod servers;
mod stopped;
mod times;

use tokio::sync::{Mutex, MutexGuard};

/// Sixteen processes need the whole machine, so one test runs at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}

/// The number of rounds: all of them with `FORGE_TEST_LONG`, as `cargo xtask test --long` sets it.
fn rounds(in_full: usize, else_only: usize) -> usize {
    if std::env::var_os("FORGE_TEST_LONG").is_some() { in_full } else { else_only }
}
