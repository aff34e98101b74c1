use requestforge::RedisTokenStorage;
use requestforge::storage::RedisTokenStorageBuilder;
use serde::{Deserialize, Serialize};

/// The Redis servers of a fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Topology {
    /// One server, at this URL.
    One(String),
    /// The master that sentinels watch over.
    Sentinel {
        /// The URLs of the sentinels.
        urls: Vec<String>,
        /// The sentinels' name of the master.
        master_name: String,
    },
    /// A cluster with nodes at these URLs.
    Cluster(Vec<String>),
}

impl Topology {
    /// A builder of a storage in these servers.
    pub fn storage(&self) -> RedisTokenStorageBuilder {
        match self {
            Self::One(url) => RedisTokenStorage::builder(url),
            Self::Sentinel { urls, master_name } => RedisTokenStorage::sentinel(urls, master_name),
            Self::Cluster(urls) => RedisTokenStorage::cluster(urls),
        }
    }
}
