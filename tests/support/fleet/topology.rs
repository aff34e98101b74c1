use requestforge::RedisTokenStorage;
use requestforge::storage::RedisTokenStorageBuilder;
use serde::{Deserialize, Serialize};

/// Where Redis is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Topology {
    /// One server, at this URL.
    One(String),
    /// The master that sentinels watch over.
    Sentinel {
        /// Their URLs.
        urls: Vec<String>,
        /// What they call it.
        master_name: String,
    },
    /// A cluster with nodes at these URLs.
    Cluster(Vec<String>),
}

impl Topology {
    /// A storage there, with settings to come.
    pub fn storage(&self) -> RedisTokenStorageBuilder {
        match self {
            Self::One(url) => RedisTokenStorage::builder(url),
            Self::Sentinel { urls, master_name } => RedisTokenStorage::sentinel(urls, master_name),
            Self::Cluster(urls) => RedisTokenStorage::cluster(urls),
        }
    }
}
