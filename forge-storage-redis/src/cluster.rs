//! Redis Cluster: a link for each master that has a token of ours, and the map that says which one has.
//!
//! Each link has its own breaker, so that a master that is gone harms only the tokens it has; and each hears
//! what is announced, so that a link that is up has missed nothing.

mod map;
mod node;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::StorageError;
use redis::{ConnectionAddr, FromRedisValue, ScriptInvocation};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::addresses::{at, host_and_port};
use crate::dialer::Ready;
use crate::link::{Common, Link, Refusal, Up};
use crate::locate::list;
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
}

#[derive(Default)]
struct Nodes {
    map: Map,
    members: Vec<Member>,
    next_id: u64,
}

/// A link to whichever master has a certain slot.
struct Member {
    id: u64,
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
        Self(Arc::new(Shared { common, seeds, poll, nodes: Mutex::default(), mapped: Notify::new() }))
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
        let begun = Instant::now();
        let mut detour = None;
        let mut hops = 0;
        while hops < MOST_HOPS {
            hops += 1;
            let asking = detour.is_some();
            let mut mapped = pin!(self.0.mapped.notified());
            mapped.as_mut().enable();
            let link = detour.take().unwrap_or_else(|| self.link(slot));
            let up = tokio::select! {
                up = link.up(begun) => up,
                // The one that is sought may be gone, and the one that is meant another one.
                () = mapped, if !asking => continue,
            };
            // Who has found the way may have found that it leads elsewhere.
            if !asking && !Arc::ptr_eq(&link, &self.link(slot)) {
                continue;
            }
            let up = up?;
            match link.call(&up, begun, &script(&up)?, asking).await {
                Ok(answer) => return Ok(answer),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Moved { host, port }) => self.0.moved(slot, &link, host, port),
                Err(Refusal::Ask { host, port }) => detour = Some(self.0.elsewhere(slot, &link, host, port)),
                Err(Refusal::TryAgain) if begun.elapsed() < self.command_limit() => {
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
        nodes.members.push(Member { id, address, link: Arc::clone(&link) });
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

    /// Asks all that are known who has what.
    async fn survey(&self, dialer: &Ready) -> Result<(), StorageError> {
        let known = self.nodes().map.nodes().to_vec();
        let mut addresses = self.seeds.clone();
        for (host, port) in known {
            let address = at(&self.seeds[0], host, port);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // Enough to find one that is up to date.
        fastrand::shuffle(&mut addresses);
        addresses.truncate(MOST_ASKED);
        let questions = addresses.into_iter().map(|address| {
            let dialer = dialer.clone();
            async move { node::ask(&dialer, &address).await }
        });
        let newest = self.poll.newest(questions).await?;
        if !newest.is_sound() {
            self.nodes().map.ask_those_of(newest);
            return Err(is_down());
        }
        self.nodes().map = newest;
        self.mapped.notify_waiters();
        Ok(())
    }

    /// Where the member is to connect to by the present map.
    fn settle(&self, id: u64, slot: u16) -> Result<Address, StorageError> {
        let mut nodes = self.nodes();
        let owner = nodes.map.owner(slot).cloned();
        let owner = owner.ok_or_else(|| StorageError::new("no server has this part of the cluster"))?;
        let is_served = |member: &Member| member.id != id && member.address.as_ref() == Some(&owner);
        if nodes.members.iter().any(is_served) {
            // What was missed meanwhile is made up for, as after any outage.
            self.common.announcements.doubt_all();
            nodes.members.retain(|member| member.id != id);
            return Err(StorageError::new("another connection leads there"));
        }
        if let Some(member) = nodes.members.iter_mut().find(|member| member.id == id) {
            member.address = Some(owner.clone());
        }
        Ok(owner)
    }
}

const MOST_ASKED: usize = 8;

fn is_down() -> StorageError {
    StorageError::new("the cluster is down (CLUSTERDOWN)")
}

impl Nodes {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

    use forge_core::TokenStorage;

    use super::*;
    use crate::RedisTokenStorage;
    use crate::fake::{Fake, list, master, text};

    /// What a node says to whom all slots are here.
    fn node(state: &str, epoch: u64, port: u16) -> impl Fn(&[&str]) -> String + Send + Sync + 'static {
        let info = text(&format!("cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\n"));
        let owner = list(&[text("127.0.0.1"), format!(":{port}\r\n"), text("id")]);
        let slots = list(&[list(&[":0\r\n".to_owned(), ":16383\r\n".to_owned(), owner])]);
        move |words| match words {
            ["CLUSTER", "INFO"] => info.clone(),
            ["CLUSTER", "SLOTS"] => slots.clone(),
            _ => master(words),
        }
    }

    /// With time for a machine that has others to serve.
    fn storage(nodes: &[&Fake]) -> RedisTokenStorage {
        let builder = RedisTokenStorage::cluster(nodes.iter().map(|fake| fake.url()));
        builder.command_timeout(Duration::from_secs(10)).build().unwrap()
    }

    async fn answers(storage: &RedisTokenStorage) {
        for _ in 0..2_000 {
            if storage.get("k").await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{storage:?} does not answer");
    }

    #[tokio::test]
    async fn inv18_a_node_next_door_that_is_cut_off_keeps_nobody_from_the_others() {
        let far = Duration::from_millis(16);
        let real = Fake::start_far(far, |port| node("ok", 1, port)).await;
        let cut_off = Fake::start_far(Duration::ZERO, |port| node("fail", 2, port)).await;
        let reset = Fake::start(|words: &[&str]| match words {
            ["CLUSTER", "INFO"] => text("cluster_state:ok\r\ncluster_current_epoch:0\r\n"),
            ["CLUSTER", "SLOTS"] => list(&[]),
            _ => master(words),
        });
        let reset = reset.await;
        for near in [&cut_off, &reset] {
            for _ in 0..5 {
                let storage = storage(&[near, &real]);
                assert_eq!(storage.get("k").await.unwrap(), None);
                real.cut();
                answers(&storage).await;
            }
            assert_eq!(near.asked("EVALSHA"), 0);
        }
    }

    #[tokio::test]
    async fn inv18_a_cluster_that_is_down_is_said_to_be_so_and_its_other_nodes_are_asked() {
        let other = Fake::start_far(Duration::ZERO, |port| node("ok", 1, port)).await;
        let seed = Fake::start(node("fail", 1, other.port())).await;
        let storage = storage(&[&seed]);
        let error = storage.get("k").await.unwrap_err().to_string();
        assert!(error.contains("the cluster is down"), "{error}");
        answers(&storage).await;
    }
    #[tokio::test]
    async fn a_long_way_takes_a_long_command_timeout_and_nothing_else() {
        let far = Fake::start_far(Duration::from_millis(400), |port| node("ok", 1, port)).await;
        let builder = RedisTokenStorage::cluster([far.url()]).command_timeout(Duration::from_secs(30));
        assert_eq!(builder.build().unwrap().get("k").await.unwrap(), None);
    }

    #[tokio::test]
    async fn inv18_who_is_patient_does_not_wait_for_a_master_that_was_replaced() {
        // Nodes that agree on whom has all slots, the second of which answers nothing else after a while.
        let (owner, is_silent) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicBool::new(false)));
        let knows = |owner: &Arc<AtomicU16>| {
            let owner = Arc::clone(owner);
            move |words: &[&str]| node("ok", 1, owner.load(Ordering::SeqCst))(words)
        };
        let (known, is_gone) = (knows(&owner), Arc::clone(&is_silent));
        let old = Fake::start(
            move |words: &[&str]| {
                if is_gone.load(Ordering::SeqCst) { String::new() } else { known(words) }
            },
        );
        let (old, new) = (old.await, Fake::start(knows(&owner)).await);
        owner.store(old.port(), Ordering::SeqCst);
        let builder = RedisTokenStorage::cluster([new.url()]).command_timeout(Duration::from_secs(45));
        let storage = builder.build().unwrap();
        storage.get("k").await.unwrap();

        is_silent.store(true, Ordering::SeqCst);
        let before = old.accepted();
        old.cut();
        // Once as one of the nodes that are asked, once to connect to.
        while old.accepted() < before + 2 {
            sleep(Duration::from_millis(10)).await;
        }
        owner.store(new.port(), Ordering::SeqCst);
        // Long before this attempt to connect ends.
        answers(&storage).await;
    }
}
