//! The suites, one file each.

pub(crate) mod build;
pub(crate) mod client;
pub(crate) mod fleet;
pub(crate) mod redis;
pub(crate) mod storm401;
pub(crate) mod tokens_held;

use tokio::runtime::{Builder, Runtime};

/// A runtime as in a service on a small machine.
fn two_workers() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
