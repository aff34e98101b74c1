//! What a Redis has to do for 1 and for 500 replicas: connections, commands and bytes, counted by the server. A
//! replica is a storage and a manager, as in a process of its own.
//!
//! `cargo xtask test --suite operators --long` prints the figures that stand in the documentation of
//! `RedisTokenStorage`.

#![allow(clippy::expect_used)]

#[path = "../servers/connection.rs"]
mod connection;
mod counts;
mod fleet;
mod groups;
mod outage;
mod standalone;
mod table;
mod waiting;

use tokio::sync::{Mutex, MutexGuard};

/// All count what servers do, and have much to do themselves.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}
