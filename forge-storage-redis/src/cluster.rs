//! Redis Cluster: one connection to each master that has one of our tokens, and the map from slots to masters.
//!
//! Each connection has its own breaker, so that a lost master affects only its own tokens. Each connection receives all
//! announcements, because a cluster delivers every message to all its nodes.

mod slot_map;
mod slot_master;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{StorageError, random_bits};
use redis::{ConnectionAddr, FromRedisValue, ScriptInvocation};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::addresses::{at, host_and_port};
use crate::connection::{CallTimes, ConnectionContext, LiveConnection, Refusal, SupervisedConnection};
use crate::dialer::ReadyDialer;
use crate::discovery::{DiscoveryError, list};
use crate::topology::{TopologyAnswer as _, TopologyQuery};
use slot_map::{Address, SlotMap};
use slot_master::SlotMaster;

pub(crate) struct Cluster(Arc<SharedState>);

struct SharedState {
    common: Arc<ConnectionContext>,
    seeds: Vec<ConnectionAddr>,
    topology: TopologyQuery,
    nodes: Mutex<Nodes>,
    /// Notified when the map has changed.
    map_changed: Notify,
    /// The number of surveys that have ended. A survey asks the nodes for the map.
    surveys: AtomicU64,
    /// The outcome of the last survey. The connection that holds this lock surveys for all that wait for it.
    survey: tokio::sync::Mutex<Result<(), StorageError>>,
}

#[derive(Default)]
struct Nodes {
    map: SlotMap,
    members: Vec<Member>,
    next_id: u64,
    /// The slots of all keys that were ever used.
    used: HashSet<u16>,
}

/// A connection to the current master of a slot.
struct Member {
    id: u64,
    slot: u16,
    /// The address of that master. `None`: it is not known yet.
    address: Option<Address>,
    connection: Arc<SupervisedConnection>,
}

/// The maximum number of redirects of a call. One redirect follows a moved slot, and a second one a move in progress. After
/// five the nodes contradict each other, and the call would go round in a circle.
const MAX_HOPS: usize = 5;
/// The pause before a call is repeated whose keys are being moved. A key moves within a millisecond or two, and the caller
/// waits, so the pause is short.
const TRY_AGAIN_PAUSE: Duration = Duration::from_millis(5);

impl Cluster {
    /// A cluster with these seed nodes. The first call connects.
    pub(crate) fn new(common: Arc<ConnectionContext>, seeds: Vec<ConnectionAddr>) -> Self {
        let topology = TopologyQuery::new(common.limits.discovery());
        Self(Arc::new(SharedState {
            common,
            seeds,
            topology,
            nodes: Mutex::default(),
            map_changed: Notify::new(),
            surveys: AtomicU64::new(0),
            survey: tokio::sync::Mutex::new(Ok(())),
        }))
    }

    /// Calls a script at the master that has this slot.
    ///
    /// # Errors
    ///
    /// As [`SupervisedConnection::call`].
    pub(crate) async fn call<'s, T: FromRedisValue>(
        &self,
        slot: u16,
        mut script: impl FnMut(&LiveConnection) -> Result<ScriptInvocation<'s>, StorageError>,
    ) -> Result<T, StorageError> {
        let begun = CallTimes::begin();
        let mut detour = None;
        let mut redirecting = None;
        let mut hops = 0;
        while hops < MAX_HOPS {
            let asking = detour.is_some();
            // Order: register before choosing the connection. A change of the map in between would be missed otherwise.
            let mut map_changed = pin!(self.0.map_changed.notified());
            map_changed.as_mut().enable();
            let connection = detour.take().unwrap_or_else(|| self.connection(slot));
            let times = begun.at_another_connection();
            let live = tokio::select! {
                live = connection.live(times) => live,
                // Race: while this call waits for a lost master, a survey may find its successor.
                () = map_changed, if !asking => continue,
            };
            // Race: the survey that connected may have found that another connection serves this slot.
            hops += 1;
            if !asking && !Arc::ptr_eq(&connection, &self.connection(slot)) {
                continue;
            }
            let live = live?;
            match connection.call(&live, times, &script(&live)?, asking).await {
                Ok(answer) => {
                    if let Some(redirecting) = redirecting {
                        self.0.retire_if_unused(&redirecting);
                    }
                    return Ok(answer);
                }
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Moved { host, port }) => {
                    self.0.record_move(slot, &connection, host, port);
                    redirecting = Some(connection);
                }
                Err(Refusal::Ask { host, port }) => {
                    detour = Some(self.0.connection_for_ask(slot, &connection, host, port));
                }
                Err(Refusal::TryAgain) if begun.begun.elapsed() < self.command_limit() => {
                    // The node has not redirected the call, so this is no circle. The command time-out ends the loop.
                    hops = 0;
                    sleep(TRY_AGAIN_PAUSE).await;
                }
                Err(Refusal::TryAgain) => break,
            }
        }
        // A server that redirects has not run the script.
        Err(StorageError::new("the cluster is moving this key to another server").with_nothing_sent())
    }

    /// The connection to the master of this slot, or the connection that is searching for it.
    pub(crate) fn connection(&self, slot: u16) -> Arc<SupervisedConnection> {
        let mut nodes = self.0.nodes();
        nodes.used.insert(slot);
        match nodes.map.owner(slot).cloned() {
            Some(owner) => self.0.connection_to(&mut nodes, slot, owner),
            None => self.0.searching_connection(&mut nodes, slot),
        }
    }

    pub(crate) fn command_limit(&self) -> Duration {
        self.0.common.limits.command
    }
}

impl SharedState {
    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection_to(
        self: &Arc<Self>,
        nodes: &mut Nodes,
        slot: u16,
        address: Address,
    ) -> Arc<SupervisedConnection> {
        if let Some(member) = nodes.members.iter().find(|member| member.address.as_ref() == Some(&address)) {
            return Arc::clone(&member.connection);
        }
        self.add(nodes, slot, Some(address))
    }

    /// The connection that searches for the master of this slot. One connection searches for all slots, because the map that
    /// it requests has all of them.
    fn searching_connection(self: &Arc<Self>, nodes: &mut Nodes, slot: u16) -> Arc<SupervisedConnection> {
        if let Some(member) = nodes.members.iter().find(|member| member.address.is_none()) {
            return Arc::clone(&member.connection);
        }
        self.add(nodes, slot, None)
    }

    fn add(
        self: &Arc<Self>,
        nodes: &mut Nodes,
        slot: u16,
        address: Option<Address>,
    ) -> Arc<SupervisedConnection> {
        let id = nodes.next_id;
        nodes.next_id += 1;
        let node = SlotMaster::new(Arc::downgrade(self), id, slot, address.clone());
        let connection = Arc::new(SupervisedConnection::new(Arc::clone(&self.common), Arc::new(node)));
        nodes.members.push(Member { id, slot, address, connection: Arc::clone(&connection) });
        connection
    }

    fn record_move(self: &Arc<Self>, slot: u16, from: &Arc<SupervisedConnection>, host: String, port: u16) {
        let mut nodes = self.nodes();
        let to = nodes.address(from, host, port);
        nodes.map.move_slot(slot, to);
    }

    fn connection_for_ask(
        self: &Arc<Self>,
        slot: u16,
        from: &Arc<SupervisedConnection>,
        host: String,
        port: u16,
    ) -> Arc<SupervisedConnection> {
        let mut nodes = self.nodes();
        let to = nodes.address(from, host, port);
        self.connection_to(&mut nodes, slot, to)
    }

    /// Drops the connection that has redirected a call, if its server has none of our slots any more. The connection to the
    /// new server is up by then.
    fn retire_if_unused(&self, connection: &Arc<SupervisedConnection>) {
        let mut nodes = self.nodes();
        let Some(member) = nodes.members.iter().find(|member| Arc::ptr_eq(&member.connection, connection))
        else {
            return;
        };
        let (id, address) = (member.id, member.address.clone());
        let is_in_use = |slot: &u16| nodes.map.owner(*slot) == address.as_ref();
        if !nodes.used.iter().any(is_in_use) {
            self.retire(&mut nodes, id);
        }
    }

    fn retire(&self, nodes: &mut Nodes, id: u64) {
        nodes.members.retain(|member| member.id != id);
        // Race: announcements may have been lost between the two connections, as in an outage.
        self.common.announcements.mark_all_uncertain();
    }

    /// Asks for the map on behalf of this member. If a survey is in progress, waits for its outcome instead.
    async fn survey(&self, dialer: &ReadyDialer, id: u64) -> Result<(), StorageError> {
        // Order: read the number before the lock. If it has changed once the lock is ours, another member has surveyed
        // meanwhile, and its outcome is new enough.
        let before = self.surveys.load(Ordering::Acquire);
        let mut last = self.survey.lock().await;
        if self.surveys.load(Ordering::Acquire) == before {
            *last = self.ask_all(dialer, id).await;
            self.surveys.fetch_add(1, Ordering::AcqRel);
        }
        last.clone()
    }

    /// Asks the known servers for the map.
    async fn ask_all(&self, dialer: &ReadyDialer, id: u64) -> Result<(), StorageError> {
        let known = self.nodes().map.nodes().to_vec();
        let mut addresses = self.seeds.clone();
        for (host, port) in known {
            let address = at(&self.seeds[0], host, port);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // A few servers, chosen at random, are enough to find one that is up to date.
        addresses.sort_by_cached_key(|_| random_bits());
        addresses.truncate(MAX_ASKED);
        let questions = addresses.into_iter().map(|address| {
            let dialer = dialer.clone();
            async move { slot_master::ask(&dialer, &address).await }
        });
        let newest = self.topology.newest(questions).await?;
        let mut nodes = self.nodes();
        if !newest.is_sound() {
            nodes.map.adopt_nodes_of(newest);
            return Err(down_error());
        }
        nodes.map = newest;
        // Race: assign the addresses before releasing the lock. Otherwise a caller that reads the new map would add a second
        // connection beside the one for which others wait.
        let is_assignable = |member: &&Member| member.id == id || member.address.is_none();
        let assignable: Vec<_> =
            nodes.members.iter().filter(is_assignable).map(|member| (member.id, member.slot)).collect();
        for (id, slot) in assignable {
            // A member that is superseded, or has no master, gets that error when it asks for its own address.
            let _ = nodes.assign_address(id, slot);
        }
        drop(nodes);
        self.map_changed.notify_waiters();
        Ok(())
    }

    /// The address to which the member connects by the current map.
    fn assign_address(&self, id: u64, slot: u16) -> Result<Address, DiscoveryError> {
        let mut nodes = self.nodes();
        let settled = nodes.assign_address(id, slot);
        if matches!(settled, Err(DiscoveryError::Superseded)) {
            self.retire(&mut nodes, id);
        }
        settled
    }
}

/// The maximum number of servers that one survey asks. Each costs a short connection, at about two surveys a second while a
/// master is down. Eight servers chosen at random include one that is up to date, unless most of the cluster is cut off.
const MAX_ASKED: usize = 8;

fn down_error() -> StorageError {
    StorageError::new("the cluster is down (CLUSTERDOWN)")
}

impl Nodes {
    /// Assigns the member its address by the current map, unless another member has it.
    fn assign_address(&mut self, id: u64, slot: u16) -> Result<Address, DiscoveryError> {
        let owner = self.map.owner(slot).cloned();
        let owner = owner.ok_or_else(|| self.map.no_owner_error())?;
        let is_served = |member: &Member| member.id != id && member.address.as_ref() == Some(&owner);
        if self.members.iter().any(is_served) {
            return Err(DiscoveryError::Superseded);
        }
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.address = Some(owner.clone());
        }
        Ok(owner)
    }

    /// The address in a redirect. A redirect without a host name means the host that has sent it.
    fn address(&self, from: &Arc<SupervisedConnection>, host: String, port: u16) -> Address {
        if !host.is_empty() {
            return (host, port);
        }
        let sender = self.members.iter().find(|member| Arc::ptr_eq(&member.connection, from));
        let sender = sender.and_then(|member| member.address.clone());
        (sender.map(|(host, _)| host).unwrap_or_default(), port)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Deadlock: each connection takes this lock to show its address, so do not hold it here.
        let connections: Vec<_> =
            self.0.nodes().members.iter().map(|member| Arc::clone(&member.connection)).collect();
        f.debug_struct("Cluster")
            .field("seeds", &list(&self.0.seeds))
            .field("connections", &connections)
            .finish()
    }
}
