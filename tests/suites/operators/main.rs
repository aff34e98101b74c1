//! What Redis has to do for 1 and for 500 replicas: connections, commands and bytes. The server counts them.
//! A replica is a storage and a manager, as in a process of its own.
//!
//! `cargo xtask test --suite operators --long` prints the figures in the documentation of
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

/// Each test counts what servers do and is a heavy load itself, so one runs at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}
