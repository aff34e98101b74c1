//! A slot on its way from one master to another, while clients use it.

use std::io;

use crate::redis::cluster::view::view;
use crate::redis::cluster::{NEWS_LIMIT, RedisCluster};
use crate::redis::group::{RedisNode, require, until};

/// How many keys move at once.
const BATCH: &str = "100";

/// A slot that is moving. Its old master answers for the keys that it still has, and answers `ASK` for the
/// others. This lasts until [`finish`](Self::finish).
#[derive(Debug)]
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    key: String,
    slot: String,
    from: RedisNode,
    to: RedisNode,
}

impl RedisCluster {
    /// Moves a key's slot to another master, with all keys in it. Returns the new master.
    ///
    /// # Panics
    ///
    /// If the slot cannot be moved.
    pub async fn move_slot(&self, key: &str) -> RedisNode {
        let from = self.master_of(key).await;
        let other = self.other_master(from).await;
        let to = other.unwrap_or_else(|error| panic!("{key} cannot be moved: {error}"));
        self.move_slot_to(key, to).await;
        to
    }

    /// Moves a key's slot to a certain master, with all keys in it.
    ///
    /// # Panics
    ///
    /// If the slot cannot be moved.
    pub async fn move_slot_to(&self, key: &str, to: RedisNode) {
        self.begin_to_move(key, to).await.finish().await;
    }

    /// Begins to move a key's slot to a certain master, for tests that run in the middle of the move.
    ///
    /// # Panics
    ///
    /// If the slot cannot be moved.
    pub async fn begin_to_move(&self, key: &str, to: RedisNode) -> SlotMove<'_> {
        let begun = self.begun(key, to).await;
        begun.unwrap_or_else(|error| panic!("{key} is not moved to {to:?}: {error}"))
    }

    async fn begun(&self, key: &str, to: RedisNode) -> io::Result<SlotMove<'_>> {
        let from = self.master_of(key).await;
        require(from != to, || "it is there".to_owned())?;
        let slot = self.slot(key).await?.to_string();
        let [old, new] = [self.id(from).await?, self.id(to).await?];
        self.group.member(to)?.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old]).await?;
        self.group.member(from)?.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new]).await?;
        Ok(SlotMove { cluster: self, key: key.to_owned(), slot, from, to })
    }

    async fn other_master(&self, than: RedisNode) -> io::Result<RedisNode> {
        let seen = view(self.group.member(than)?).await?;
        let other = seen.iter().find(|seen| seen.is_master() && seen.is_well() && seen.port != than.port());
        let node = self.nodes().into_iter().find(|node| other.is_some_and(|seen| seen.port == node.port()));
        node.ok_or_else(|| io::Error::other("there is no other master"))
    }

    async fn id(&self, node: RedisNode) -> io::Result<String> {
        self.group.member(node)?.text(&["CLUSTER", "MYID"]).await
    }
}

impl SlotMove<'_> {
    /// The master that the slot leaves.
    pub fn from(&self) -> RedisNode {
        self.from
    }

    /// The master that the slot goes to.
    pub fn to(&self) -> RedisNode {
        self.to
    }

    /// Moves the keys that are in the slot now. The slot itself stays: its old master answers a client that
    /// asks for one of these keys with `ASK`.
    ///
    /// # Panics
    ///
    /// If the keys cannot be moved.
    pub async fn move_keys(&self) {
        let moved = self.keys_moved().await;
        moved.unwrap_or_else(|error| panic!("the keys of slot {} are not moved: {error}", self.slot));
    }

    /// Moves the remaining keys and the slot itself. When this returns, all nodes know of it.
    ///
    /// # Panics
    ///
    /// If the slot cannot be moved.
    pub async fn finish(self) {
        let finished = self.finished().await;
        finished.unwrap_or_else(|error| panic!("slot {} is not moved: {error}", self.slot));
    }

    async fn keys_moved(&self) -> io::Result<()> {
        let from = self.cluster.group.member(self.from)?;
        let port = self.to.port().to_string();
        loop {
            let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", &self.slot, BATCH]).await?;
            if keys.is_empty() {
                return Ok(());
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "REPLACE"];
            command.extend(from.access.password.iter().flat_map(|password| ["AUTH", password]));
            command.push("KEYS");
            command.extend(keys.iter().map(String::as_str));
            from.ask(&command).await?;
        }
    }

    async fn finished(&self) -> io::Result<()> {
        self.keys_moved().await?;
        let id = self.cluster.id(self.to).await?;
        let command = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &id];
        // First the new master, so that there always is one. The others get the news too, because it would
        // spread slowly.
        self.cluster.group.member(self.to)?.ask(&command).await?;
        for member in self.cluster.group.living().filter(|member| member.node != self.to) {
            let seen = view(member).await?;
            let is_master = seen.iter().any(|seen| seen.port == member.node.port() && seen.is_master());
            if is_master {
                member.ask(&command).await?;
            }
        }
        until(NEWS_LIMIT, move || {
            Box::pin(async move {
                let master = self.cluster.agreed_master(&self.key).await?;
                require(master == self.to, || format!("it is at {master:?}"))
            })
        })
        .await
    }
}
