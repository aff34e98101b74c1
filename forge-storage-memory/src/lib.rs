//! The token storage of `requestforge` in the memory of one process.
//!
//! Programs use it through `requestforge` (feature `storage-memory`), and a token manager without another storage uses it
//! by default. Depend on this crate directly if you write a library on `forge-core`.
//!
//! All managers that hold a clone of an [`InMemoryTokenStorage`] share its tokens. They see each other's changes at once,
//! and only one of them fetches the token of a key at a time.
//!
//! ```
//! use requestforge::{InMemoryTokenStorage, TokenData, TokenStorage};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let storage = InMemoryTokenStorage::builder().capacity(10_000).build();
//! storage.set("auth_token:crm", &TokenData::new("abc")).await?;
//! assert_eq!(storage.get("auth_token:crm").await?, Some(TokenData::new("abc")));
//!
//! // Each manager that shares the tokens gets a clone: `TokenManager::builder(provider).storage(storage.clone())`.
//! assert!(storage.clone().exists("auth_token:crm").await?);
//! # Ok::<_, requestforge::StorageError>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//!
//! The tokens are lost when the process ends, and other processes do not see them. To share tokens between processes, use
//! `RedisTokenStorage`. The storage keeps at most 100,000 tokens by default, and evicts the least recently used one first.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cool_downs;
mod leases;
mod mark;
mod storage;

pub use storage::{InMemoryTokenStorage, InMemoryTokenStorageBuilder};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
