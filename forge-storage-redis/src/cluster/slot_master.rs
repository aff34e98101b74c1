use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use forge_core::StorageError;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, Value};

use super::slot_map::{Address, SlotMap, is_cluster_state_ok};
use super::{SharedState, at, down_error, host_and_port, list};
use crate::dialer::ReadyDialer;
use crate::discovery::{Discovery, DiscoveryError};
use crate::explain::explain;

/// Finds the current master of a slot.
pub(super) struct SlotMaster {
    cluster: Weak<SharedState>,
    /// The id of the member whose connection asks.
    id: u64,
    slot: u16,
    /// The address that is known from the beginning. With it the first attempt needs no survey.
    first: Option<Address>,
    is_first_used: AtomicBool,
}

impl SlotMaster {
    pub(super) fn new(cluster: Weak<SharedState>, id: u64, slot: u16, first: Option<Address>) -> Self {
        Self { cluster, id, slot, first, is_first_used: AtomicBool::new(false) }
    }

    fn cluster(&self) -> Result<Arc<SharedState>, StorageError> {
        self.cluster.upgrade().ok_or_else(|| StorageError::new("the storage was dropped"))
    }
}

#[async_trait]
impl Discovery for SlotMaster {
    async fn locate(&self, dialer: &ReadyDialer) -> Result<ConnectionAddr, DiscoveryError> {
        let cluster = self.cluster()?;
        let (host, port) = match &self.first {
            Some(first) if !self.is_first_used.swap(true, Ordering::Relaxed) => first.clone(),
            _ => {
                cluster.survey(dialer, self.id).await?;
                cluster.assign_address(self.id, self.slot)?
            }
        };
        Ok(at(&cluster.seeds[0], host, port))
    }

    /// Crash: a node that is cut off from its cluster accepts connections, but refuses every command.
    async fn verify(&self, connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        let info: String = redis::cmd("CLUSTER")
            .arg("INFO")
            .query_async(connection)
            .await
            .map_err(|error| explain(&error))?;
        if is_cluster_state_ok(&info) { Ok(()) } else { Err(down_error()) }
    }
}

/// Asks a node for its map of the cluster.
///
/// # Errors
///
/// The node does not answer, or is not part of a cluster.
pub(super) async fn ask(dialer: &ReadyDialer, address: &ConnectionAddr) -> Result<SlotMap, StorageError> {
    let node = dialer.dial(address).await?;
    let (mut first, mut second) = (node.redis.clone(), node.redis.clone());
    let (mut info, mut slots) = (redis::cmd("CLUSTER"), redis::cmd("CLUSTER"));
    // Two concurrent commands instead of a pipeline, because the errors of a pipeline say less.
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
    Ok(SlotMap::read(&info, slots, host))
}

impl fmt::Display for SlotMaster {
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
