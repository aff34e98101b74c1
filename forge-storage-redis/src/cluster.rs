//! Redis Cluster: a link for each master that has a token of ours, and the map that says which one has.
//!
//! Each link has its own breaker, so that a master that is gone harms only the tokens it has; and each hears
//! what is announced, so that a link that is up has missed nothing.

mod map;
mod node;
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
use crate::dialer::Ready;
use crate::link::{Common, Link, Refusal, Up, Wait};
use crate::locate::{Nowhere, list};
use crate::poll::{Poll, Word as _};
use map::{Address, Map};
use node::Node;

pub(crate) struct Cluster(Arc<Shared>);

struct Shared {
    common: Arc<Common>,
    seeds: Vec<ConnectionAddr>,
    poll: Poll,
    nodes: Mutex<Nodes>,
    /// There is another map.
    mapped: Notify,
    /// How often it was asked for, and what came of the last time. One asks for all.
    surveys: AtomicU64,
    survey: tokio::sync::Mutex<Result<(), StorageError>>,
}

#[derive(Default)]
struct Nodes {
    map: Map,
    members: Vec<Member>,
    next_id: u64,
    /// The slots that were ever asked for.
    used: HashSet<u16>,
}

/// A link to whichever master has a certain slot.
struct Member {
    id: u64,
    slot: u16,
    /// Where that is; `None`: nobody has said so yet.
    address: Option<Address>,
    link: Arc<Link>,
}

/// A call that was sent elsewhere so often is sent in a circle.
const MOST_HOPS: usize = 5;
/// Keys that are on their way arrive soon.
const ARRIVAL: Duration = Duration::from_millis(5);

impl Cluster {
    /// Asks nobody yet.
    pub(crate) fn new(common: Arc<Common>, seeds: Vec<ConnectionAddr>) -> Self {
        let poll = Poll::new(common.limits.poll());
        Self(Arc::new(Shared {
            common,
            seeds,
            poll,
            nodes: Mutex::default(),
            mapped: Notify::new(),
            surveys: AtomicU64::new(0),
            survey: tokio::sync::Mutex::new(Ok(())),
        }))
    }

    /// Calls a script at the master that has this slot.
    ///
    /// # Errors
    ///
    /// As of [`Link::call`].
    pub(crate) async fn call<'s, T: FromRedisValue>(
        &self,
        slot: u16,
        mut script: impl FnMut(&Up) -> Result<ScriptInvocation<'s>, StorageError>,
    ) -> Result<T, StorageError> {
        let begun = Wait::begin();
        let mut detour = None;
        let mut left = None;
        let mut hops = 0;
        while hops < MOST_HOPS {
            let asking = detour.is_some();
            let mut mapped = pin!(self.0.mapped.notified());
            mapped.as_mut().enable();
            let link = detour.take().unwrap_or_else(|| self.link(slot));
            let wait = begun.go_on_elsewhere();
            let up = tokio::select! {
                up = link.up(wait) => up,
                // The one that is sought may be gone, and the one that is meant another one.
                () = mapped, if !asking => continue,
            };
            // Who has found the way may have found that it leads elsewhere.
            hops += 1;
            if !asking && !Arc::ptr_eq(&link, &self.link(slot)) {
                continue;
            }
            let up = up?;
            match link.call(&up, wait, &script(&up)?, asking).await {
                Ok(answer) => {
                    if let Some(left) = left {
                        self.0.leave(&left);
                    }
                    return Ok(answer);
                }
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Moved { host, port }) => {
                    self.0.moved(slot, &link, host, port);
                    left = Some(link);
                }
                Err(Refusal::Ask { host, port }) => detour = Some(self.0.elsewhere(slot, &link, host, port)),
                Err(Refusal::TryAgain) if begun.begun.elapsed() < self.command_limit() => {
                    hops = 0;
                    sleep(ARRIVAL).await;
                }
                Err(Refusal::TryAgain) => break,
            }
        }
        // Whoever sends elsewhere has done nothing.
        Err(StorageError::new("this part of the cluster is on its way to another server").with_nothing_sent())
    }

    /// The link to the master that has this slot, or that is about to find out which one it is.
    pub(crate) fn link(&self, slot: u16) -> Arc<Link> {
        let mut nodes = self.0.nodes();
        nodes.used.insert(slot);
        match nodes.map.owner(slot).cloned() {
            Some(owner) => self.0.link_to(&mut nodes, slot, owner),
            None => self.0.link_in_search(&mut nodes, slot),
        }
    }

    pub(crate) fn command_limit(&self) -> Duration {
        self.0.common.limits.command
    }
}

impl Shared {
    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link_to(self: &Arc<Self>, nodes: &mut Nodes, slot: u16, address: Address) -> Arc<Link> {
        if let Some(member) = nodes.members.iter().find(|member| member.address.as_ref() == Some(&address)) {
            return Arc::clone(&member.link);
        }
        self.add(nodes, slot, Some(address))
    }

    /// One finds the way for all: the map that it asks for has all slots.
    fn link_in_search(self: &Arc<Self>, nodes: &mut Nodes, slot: u16) -> Arc<Link> {
        if let Some(member) = nodes.members.iter().find(|member| member.address.is_none()) {
            return Arc::clone(&member.link);
        }
        self.add(nodes, slot, None)
    }

    fn add(self: &Arc<Self>, nodes: &mut Nodes, slot: u16, address: Option<Address>) -> Arc<Link> {
        let id = nodes.next_id;
        nodes.next_id += 1;
        let node = Node::new(Arc::downgrade(self), id, slot, address.clone());
        let link = Arc::new(Link::new(Arc::clone(&self.common), Arc::new(node)));
        nodes.members.push(Member { id, slot, address, link: Arc::clone(&link) });
        link
    }

    fn moved(self: &Arc<Self>, slot: u16, from: &Arc<Link>, host: String, port: u16) {
        let mut nodes = self.nodes();
        let to = nodes.address(from, host, port);
        nodes.map.move_slot(slot, to);
    }

    fn elsewhere(self: &Arc<Self>, slot: u16, from: &Arc<Link>, host: String, port: u16) -> Arc<Link> {
        let mut nodes = self.nodes();
        let to = nodes.address(from, host, port);
        self.link_to(&mut nodes, slot, to)
    }

    /// Ends the link that has sent us away, if nothing that we have is there any more. Whoever has taken its
    /// place is up.
    fn leave(&self, link: &Arc<Link>) {
        let mut nodes = self.nodes();
        let Some(member) = nodes.members.iter().find(|member| Arc::ptr_eq(&member.link, link)) else {
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
        // What was missed meanwhile is made up for, as after any outage.
        self.common.announcements.doubt_all();
    }

    /// Asks who has what, for this member; or waits for the answer, where somebody is asking.
    async fn survey(&self, dialer: &Ready, id: u64) -> Result<(), StorageError> {
        let before = self.surveys.load(Ordering::Acquire);
        let mut last = self.survey.lock().await;
        if self.surveys.load(Ordering::Acquire) == before {
            *last = self.ask_all(dialer, id).await;
            self.surveys.fetch_add(1, Ordering::AcqRel);
        }
        last.clone()
    }

    /// Asks all that are known.
    async fn ask_all(&self, dialer: &Ready, id: u64) -> Result<(), StorageError> {
        let known = self.nodes().map.nodes().to_vec();
        let mut addresses = self.seeds.clone();
        for (host, port) in known {
            let address = at(&self.seeds[0], host, port);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // Enough to find one that is up to date.
        addresses.sort_by_cached_key(|_| random_bits());
        addresses.truncate(MOST_ASKED);
        let questions = addresses.into_iter().map(|address| {
            let dialer = dialer.clone();
            async move { node::ask(&dialer, &address).await }
        });
        let newest = self.poll.newest(questions).await?;
        let mut nodes = self.nodes();
        if !newest.is_sound() {
            nodes.map.ask_those_of(newest);
            return Err(is_down());
        }
        nodes.map = newest;
        // Before anybody looks for a link by this map: those who wait for one are to find this one.
        let is_settled = |member: &&Member| member.id == id || member.address.is_none();
        let settled: Vec<_> =
            nodes.members.iter().filter(is_settled).map(|member| (member.id, member.slot)).collect();
        for (id, slot) in settled {
            // Who is needless, or has nowhere to go, is told when it asks.
            let _ = nodes.settle(id, slot);
        }
        drop(nodes);
        self.mapped.notify_waiters();
        Ok(())
    }

    /// Where the member is to connect to by the present map.
    fn settle(&self, id: u64, slot: u16) -> Result<Address, Nowhere> {
        let mut nodes = self.nodes();
        let settled = nodes.settle(id, slot);
        if matches!(settled, Err(Nowhere::Needless)) {
            self.retire(&mut nodes, id);
        }
        settled
    }
}

const MOST_ASKED: usize = 8;

fn is_down() -> StorageError {
    StorageError::new("the cluster is down (CLUSTERDOWN)")
}

impl Nodes {
    /// Gives the member the address by the present map, unless another one has it.
    fn settle(&mut self, id: u64, slot: u16) -> Result<Address, Nowhere> {
        let owner = self.map.owner(slot).cloned();
        let owner = owner.ok_or_else(|| self.map.explain())?;
        let is_served = |member: &Member| member.id != id && member.address.as_ref() == Some(&owner);
        if self.members.iter().any(is_served) {
            return Err(Nowhere::Needless);
        }
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.address = Some(owner.clone());
        }
        Ok(owner)
    }

    /// Who sends elsewhere without naming a host means itself.
    fn address(&self, from: &Arc<Link>, host: String, port: u16) -> Address {
        if !host.is_empty() {
            return (host, port);
        }
        let sender = self.members.iter().find(|member| Arc::ptr_eq(&member.link, from));
        let sender = sender.and_then(|member| member.address.clone());
        (sender.map(|(host, _)| host).unwrap_or_default(), port)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each asks for its own address, so not under the lock.
        let links: Vec<_> = self.0.nodes().members.iter().map(|member| Arc::clone(&member.link)).collect();
        f.debug_struct("Cluster").field("seeds", &list(&self.0.seeds)).field("links", &links).finish()
    }
}
