//! Shares the tokens of `requestforge` between processes, through Redis 7 or Valkey: one fetch for a
//! whole fleet, and no harm when the server is gone. [`RedisTokenStorage`] says what is guaranteed, and
//! how far.

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
