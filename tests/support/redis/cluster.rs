//! A Redis Cluster of one's own.

mod moving;
mod view;

use std::time::Duration;
use std::{fmt, io};

use crate::redis::ask::Access;
use crate::redis::finder::{self, Found};
use crate::redis::group::{Group, Member, RedisNode, require, until};
use crate::redis::port;
use crate::redis::setup::Setup;
use crate::redis::tls::{Authority, Identity, Tls};

pub use moving::SlotMove;

use view::{LeaseRead, view};

const MASTERS: usize = 3;
/// Each master has one replica.
const NODES: usize = 2 * MASTERS;
const SLOTS: usize = 16384;

const SETTINGS: [&str; 8] = [
    "--cluster-enabled",
    "yes",
    "--cluster-announce-ip",
    "127.0.0.1",
    "--cluster-node-timeout",
    "2000",
    // Else a replica waits five seconds for others.
    "--repl-diskless-sync-delay",
    "0",
];

/// Three seconds, on a machine that has nothing else to do. Masters accept nothing in the first two.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Four seconds, there.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);
/// For what has only to get about.
const NEWS_LIMIT: Duration = Duration::from_secs(20);

/// A Redis Cluster of one's own on 127.0.0.1: three masters, each with a replica, and nothing in them. A
/// node that does not answer for two seconds is replaced. All are gone when this is dropped, and also when
/// the process is killed.
///
/// Behind the port of a container that was killed, the engine may still accept connections, and end them.
///
/// ```no_run
/// # async fn run() {
/// use forge_tests::RedisCluster;
///
/// let cluster = RedisCluster::start().await;
/// // … a client with `cluster.urls()` …
/// let master = cluster.master_of("key").await;
/// cluster.pause(master).await;
/// assert_ne!(cluster.failed_over("key").await, master);
/// cluster.resume(master).await; // a replica now
/// # }
/// ```
pub struct RedisCluster {
    group: Group,
}

impl RedisCluster {
    /// Starts the nodes and waits until all agree that the cluster is complete.
    ///
    /// # Panics
    ///
    /// When there is no Redis, with what to do, or no cluster of it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts each node with more arguments, such as `["--requirepass", "secret"]`, with which they also
    /// let each other in, or `["--user", "name", "on", ">secret", "~*", "+@all"]`.
    ///
    /// # Panics
    ///
    /// When there is no Redis, with what to do, or no cluster of it.
    pub async fn start_with(args: &[&str]) -> Self {
        Self::started(args, None).await.unwrap_or_else(|error| panic!("no Redis Cluster: {error}"))
    }

    /// Starts nodes that speak nothing but TLS, also with each other, all as the one that `identity` says.
    ///
    /// # Panics
    ///
    /// When there is no Redis, with what to do, or no cluster of it.
    pub async fn start_tls(authority: &Authority, identity: &Identity, args: &[&str]) -> Self {
        let start = async { Self::started(args, Some(Tls::new(authority, identity)?)).await };
        start.await.unwrap_or_else(|error| panic!("no Redis Cluster with TLS: {error}"))
    }

    /// All nodes, whatever they are now.
    pub fn nodes(&self) -> Vec<RedisNode> {
        self.group.nodes()
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes().iter().map(RedisNode::url).collect()
    }

    /// The master of a key's slot, on which all nodes agree that are neither paused nor killed.
    ///
    /// # Panics
    ///
    /// When they do not agree.
    pub async fn master_of(&self, key: &str) -> RedisNode {
        let master = until(NEWS_LIMIT, move || Box::pin(async move { self.agreed_master(key).await })).await;
        master.unwrap_or_else(|error| panic!("no master of {key}: {error}"))
    }

    /// The replicas of a master, as it sees them itself.
    ///
    /// # Panics
    ///
    /// When it does not tell.
    pub async fn replicas_of(&self, master: RedisNode) -> Vec<RedisNode> {
        self.replicas(master).await.unwrap_or_else(|error| panic!("no replicas of {master:?}: {error}"))
    }

    /// Freezes a node: connections are still accepted, and nobody answers.
    ///
    /// # Panics
    ///
    /// When it cannot be frozen.
    pub async fn pause(&self, node: RedisNode) {
        self.group.pause(node).await;
    }

    /// Lets a node go on, with all that has come in meanwhile.
    ///
    /// # Panics
    ///
    /// When it does not go on.
    pub async fn resume(&self, node: RedisNode) {
        self.group.resume(node).await;
    }

    /// Kills a node, paused or not.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub async fn kill(&mut self, node: RedisNode) {
        self.group.kill(node).await;
    }

    /// Starts a node again after [`kill`](Self::kill): empty, but with its place in the cluster.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_again(&mut self, node: RedisNode) {
        self.group.start_again(node).await;
    }

    /// Waits until one of the nodes that are neither paused nor killed is the master of a key's slot, all of
    /// them agree on that, and for all of them the cluster is complete.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn failed_over(&self, key: &str) -> RedisNode {
        let failed_over = until(FAILOVER_LIMIT, move || {
            Box::pin(async move {
                let master = self.agreed_master(key).await?;
                let living = self.group.living().any(|member| member.node == master);
                require(living, || format!("{master:?} is the master"))?;
                for member in self.group.living() {
                    works(member).await?;
                }
                Ok(master)
            })
        });
        failed_over.await.unwrap_or_else(|error| panic!("no failover of {key}: {error}"))
    }

    /// Waits until each of the nodes that are neither paused nor killed says that the cluster is complete,
    /// that all nodes are there, and that it is connected with its replica or master.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn ready(&self) {
        self.until_ready().await.unwrap_or_else(|error| panic!("the cluster is not ready: {error}"));
    }

    async fn started(args: &[&str], tls: Option<Tls>) -> io::Result<Self> {
        let found = &finder::found().await?.server;
        let access = &Access::by(args, tls);
        // Each node has a second port, for the others.
        let group = port::on_free(2 * NODES, move |ports| {
            Box::pin(async move { group(found, access, args, &ports).await })
        })
        .await?;
        let cluster = Self { group };
        cluster.until_ready().await?;
        Ok(cluster)
    }

    async fn until_ready(&self) -> io::Result<()> {
        until(READY_LIMIT, move || {
            Box::pin(async move {
                for member in self.group.living() {
                    works(member).await?;
                    let seen = view(member).await?;
                    let masters = seen.iter().filter(|seen| seen.is_master()).count();
                    let complete =
                        seen.len() == NODES && masters == MASTERS && seen.iter().all(LeaseRead::is_well);
                    require(complete, || format!("{:?} sees {seen:?}", member.node))?;
                    replicates(member).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn agreed_master(&self, key: &str) -> io::Result<RedisNode> {
        let slot = self.slot(key).await?;
        let mut masters = Vec::new();
        for member in self.group.living() {
            let seen = view(member).await?;
            masters.extend(seen.iter().find(|seen| seen.has(slot)).map(|seen| seen.port));
        }
        let one = masters.first().filter(|first| masters.iter().all(|port| port == *first));
        let node = self.nodes().into_iter().find(|node| Some(&node.port()) == one);
        node.ok_or_else(|| io::Error::other(format!("nodes see the masters {masters:?} of slot {slot}")))
    }

    async fn replicas(&self, master: RedisNode) -> io::Result<Vec<RedisNode>> {
        let seen = view(self.group.member(master)?).await?;
        let id = seen.iter().find(|seen| seen.port == master.port()).map(|seen| seen.id.clone());
        let ours = |seen: &&LeaseRead| seen.master.is_some() && seen.master == id;
        let ports: Vec<u16> = seen.iter().filter(ours).map(|seen| seen.port).collect();
        Ok(self.nodes().into_iter().filter(|node| ports.contains(&node.port())).collect())
    }

    async fn slot(&self, key: &str) -> io::Result<usize> {
        let member = self.group.living().next().ok_or_else(|| io::Error::other("no node lives"))?;
        member.text(&["CLUSTER", "KEYSLOT", key]).await?.parse().map_err(io::Error::other)
    }
}

impl fmt::Debug for RedisCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCluster").field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}

/// Nodes that have been told to be a cluster.
async fn group(found: &'static Found, access: &Access, args: &[&str], ports: &[u16]) -> io::Result<Group> {
    let (ports, buses) = ports.split_at(NODES);
    let mut group = Group::new(found, ports).await?;
    let setup = |(port, bus): (&u16, &u16)| {
        let bus = bus.to_string();
        let mut all = Vec::from(SETTINGS);
        all.extend(["--cluster-port", &bus]);
        all.extend(access.password.iter().flat_map(|password| ["--masterauth", password]));
        all.extend(args);
        Setup::new(*port, access, &all)
    };
    group.add(found, ports.iter().zip(buses).map(setup).collect()).await?;
    join(&group, buses).await?;
    Ok(group)
}

/// What `redis-cli --cluster create` does.
async fn join(group: &Group, buses: &[u16]) -> io::Result<()> {
    let (masters, replicas) = group.members().split_at(MASTERS);
    for (index, master) in masters.iter().enumerate() {
        let (first, end) = (index * SLOTS / MASTERS, (index + 1) * SLOTS / MASTERS);
        let (first, last) = (first.to_string(), (end - 1).to_string());
        master.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
        // Else masters argue about who has which.
        master.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await?;
    }
    for (index, member) in group.members().iter().enumerate() {
        for (other, bus) in group.members().iter().zip(buses).skip(index + 1) {
            let (port, bus) = (other.node.port().to_string(), bus.to_string());
            member.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
        }
    }
    for (master, replica) in masters.iter().zip(replicas) {
        let id = &master.text(&["CLUSTER", "MYID"]).await?;
        // Not before they have met.
        until(NEWS_LIMIT, move || Box::pin(async move { replica.ask(&["CLUSTER", "REPLICATE", id]).await }))
            .await?;
    }
    Ok(())
}

/// Whether a node says that each slot has a master that works.
async fn works(member: &Member) -> io::Result<()> {
    let info = member.text(&["CLUSTER", "INFO"]).await?;
    require(info.contains("cluster_state:ok"), || format!("{:?} says: {info}", member.node))
}

/// Whether a master has its replica, or a replica its master.
async fn replicates(member: &Member) -> io::Result<()> {
    let info = member.text(&["INFO", "replication"]).await?;
    let fine = info.contains("state=online") || info.contains("master_link_status:up");
    require(fine, || format!("{:?} says: {info}", member.node))
}
