//! Keeps tokens in the process, shared by all managers that hold a clone of the storage.

mod cool_downs;
mod lease;
mod leases;
mod storage;

pub use storage::{InMemoryTokenStorage, InMemoryTokenStorageBuilder};
