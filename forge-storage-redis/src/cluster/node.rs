use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use forge_core::StorageError;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, Value};

use super::map::{Address, Map, is_well};
use super::{Shared, at, host_and_port, is_down, list};
use crate::dialer::Ready;
use crate::explain::explain;
use crate::locate::{Locate, Nowhere};

/// The master of a slot, whoever that is.
pub(super) struct Node {
    cluster: Weak<Shared>,
    /// Of the member whose link this is.
    id: u64,
    slot: u16,
    /// What is known at first need not be asked for.
    first: Option<Address>,
    is_first_used: AtomicBool,
}

impl Node {
    pub(super) fn new(cluster: Weak<Shared>, id: u64, slot: u16, first: Option<Address>) -> Self {
        Self { cluster, id, slot, first, is_first_used: AtomicBool::new(false) }
    }

    fn cluster(&self) -> Result<Arc<Shared>, StorageError> {
        self.cluster.upgrade().ok_or_else(|| StorageError::new("the storage is gone"))
    }
}

#[async_trait]
impl Locate for Node {
    async fn locate(&self, dialer: &Ready) -> Result<ConnectionAddr, Nowhere> {
        let cluster = self.cluster()?;
        let (host, port) = match &self.first {
            Some(first) if !self.is_first_used.swap(true, Ordering::Relaxed) => first.clone(),
            _ => {
                cluster.survey(dialer, self.id).await?;
                cluster.settle(self.id, self.slot)?
            }
        };
        Ok(at(&cluster.seeds[0], host, port))
    }

    /// One that is cut off from the others refuses everything.
    async fn verify(&self, connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        let info: String = redis::cmd("CLUSTER")
            .arg("INFO")
            .query_async(connection)
            .await
            .map_err(|error| explain(&error))?;
        if is_well(&info) { Ok(()) } else { Err(is_down()) }
    }
}

/// What a node knows of its cluster.
///
/// # Errors
///
/// It cannot be asked, or is part of none.
pub(super) async fn ask(dialer: &Ready, address: &ConnectionAddr) -> Result<Map, StorageError> {
    let node = dialer.dial(address).await?;
    let (mut first, mut second) = (node.redis.clone(), node.redis.clone());
    let (mut info, mut slots) = (redis::cmd("CLUSTER"), redis::cmd("CLUSTER"));
    // At once, and not as a pipeline, whose errors tell less.
    let (info, slots): (String, Value) = tokio::try_join!(
        info.arg("INFO").query_async(&mut first),
        slots.arg("SLOTS").query_async(&mut second)
    )
    .map_err(|error| {
        if error.to_string().contains("cluster support disabled") {
            return StorageError::new("this server is not part of a cluster");
        }
        explain(&error)
    })?;
    let (host, _) = host_and_port(address).unwrap_or_default();
    Ok(Map::read(&info, slots, host))
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(cluster) = self.cluster() else { return f.write_str("a cluster") };
        let address = cluster
            .nodes()
            .members
            .iter()
            .find(|member| member.id == self.id)
            .and_then(|member| member.address.clone());
        match address {
            Some((host, port)) => write!(f, "{host}:{port} of the cluster {}", list(&cluster.seeds)),
            None => write!(f, "the cluster {}", list(&cluster.seeds)),
        }
    }
}
