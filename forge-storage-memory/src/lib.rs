//! Keeps tokens in the process, shared by all managers that hold a clone of the storage.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cool_downs;
mod lease;
mod leases;
mod mark;
mod storage;

pub use storage::{InMemoryTokenStorage, InMemoryTokenStorageBuilder};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
