//! Shares tokens between processes, through Redis or Valkey.

mod announcements;
mod builder;
mod keys;
mod lease;
mod link;
mod record;
mod scripts;
mod server_clock;
mod storage;

pub use builder::RedisTokenStorageBuilder;
pub use storage::RedisTokenStorage;

/// The client library underneath, for [`RedisTokenStorage::from_client`].
pub use redis;
