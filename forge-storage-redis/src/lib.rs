//! Shares the tokens of `requestforge` between processes, through Redis 7 or Valkey: one fetch for a
//! whole fleet, and no harm when the server is gone. [`RedisTokenStorage`] says what is guaranteed, and
//! how far.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod addresses;
mod announcements;
mod builder;
mod cluster;
mod connection;
mod dialer;
mod discovery;
mod explain;
#[cfg(test)]
mod fake;
mod keys;
mod lease;
mod login;
#[cfg(test)]
mod logs;
mod scripts;
mod server_clock;
mod servers;
mod storage;
mod target;
#[cfg(feature = "rustls-no-provider")]
mod tls;
mod topology;

pub use builder::RedisTokenStorageBuilder;
pub use storage::RedisTokenStorage;

/// The client library underneath, for [`RedisTokenStorage::from_client`].
pub use redis;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
