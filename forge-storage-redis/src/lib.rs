//! Shares the tokens of `requestforge` between processes, through Redis 7 or Valkey.
//!
//! Programs use it through `requestforge` (feature `storage-redis`). Depend on this crate directly if you write a library on
//! `forge-core`.
//!
//! A [`RedisTokenStorage`] connects to one server, to the master behind sentinels, or to a cluster. Of all processes that
//! share a prefix, one fetches a token, and the others use it. If Redis is down, each process continues without it.
//!
//! ```no_run
//! use requestforge::{RedisTokenStorage, SecretSource};
//!
//! let storage = RedisTokenStorage::builder("redis://tokens@10.0.0.5:6379")
//!     .password(SecretSource::file("/run/secrets/redis-password"))
//!     .key_prefix("billing")
//!     .build()?;
//! // Pass the storage to a manager: `TokenManager::builder(provider).storage(storage).build()?`.
//! # drop(storage);
//! # Ok::<_, requestforge::ConfigError>(())
//! ```
//!
//! # Limits
//!
//! The storage needs a tokio runtime. It stores tokens in plain text, so wrap it in an `EncryptedTokenStorage` if other
//! people can read the server. Redis replicates asynchronously, so a failover may lose the latest write.
//! [`RedisTokenStorage`] lists all guarantees with their limits, and the load on the server.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod addresses;
mod announcements;
mod cluster;
mod connection;
mod dialer;
mod discovery;
mod explain;
#[cfg(test)]
mod fake;
mod keys;
mod limits;
mod login;
#[cfg(test)]
mod logs;
mod scripts;
mod server_clock;
mod servers;
mod storage;
mod system_error;
mod target;
#[cfg(feature = "rustls-no-provider")]
mod tls;
mod topology;

pub use storage::{RedisTokenStorage, RedisTokenStorageBuilder};

/// The client library underneath, for [`RedisTokenStorage::from_client`].
pub use redis;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
