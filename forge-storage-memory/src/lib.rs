//! Keeps tokens in the process, shared by all managers that hold a clone of the storage.

mod cool_downs;
mod lease;
mod leases;
mod mark;
mod storage;

pub use storage::{InMemoryTokenStorage, InMemoryTokenStorageBuilder};
