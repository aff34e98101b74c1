//! A Redis Cluster for one test.

mod moving;
mod view;

use std::time::Duration;
use std::{fmt, io};

use crate::redis::ask::Access;
use crate::redis::finder::{self, FinderOutcome};
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
    // Otherwise a replica waits five seconds for others.
    "--repl-diskless-sync-delay",
    "0",
];

/// Three seconds on an idle machine. Masters accept nothing in the first two.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Four seconds on an idle machine.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);
/// The limit for news that only has to spread.
const NEWS_LIMIT: Duration = Duration::from_secs(20);

/// A Redis Cluster for one test on 127.0.0.1: three masters without data, each with a replica. The cluster
/// replaces a node that does not answer for two seconds. All nodes end when this value is dropped, and also
/// when the process is killed.
///
/// The engine may still accept connections at the port of a killed container, and end them.
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
    /// If there is no Redis (the message says what to do), or if the nodes do not form a cluster.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts each node with more arguments, such as `["--requirepass", "secret"]` or `["--user", "name",
    /// "on", ">secret", "~*", "+@all"]`. The nodes also use the password among themselves.
    ///
    /// # Panics
    ///
    /// If there is no Redis (the message says what to do), or if the nodes do not form a cluster.
    pub async fn start_with(args: &[&str]) -> Self {
        Self::started(args, None).await.unwrap_or_else(|error| panic!("no Redis Cluster: {error}"))
    }

    /// Starts nodes that speak only TLS, also among themselves, all with the certificate of `identity`.
    ///
    /// # Panics
    ///
    /// If there is no Redis (the message says what to do), or if the nodes do not form a cluster.
    pub async fn start_tls(authority: &Authority, identity: &Identity, args: &[&str]) -> Self {
        let start = async { Self::started(args, Some(Tls::new(authority, identity)?)).await };
        start.await.unwrap_or_else(|error| panic!("no Redis Cluster with TLS: {error}"))
    }

    /// All nodes, whether masters or replicas now.
    pub fn nodes(&self) -> Vec<RedisNode> {
        self.group.nodes()
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes().iter().map(RedisNode::url).collect()
    }

    /// The master of a key's slot. All nodes that are neither paused nor killed agree on it.
    ///
    /// # Panics
    ///
    /// If they do not agree.
    pub async fn master_of(&self, key: &str) -> RedisNode {
        let master = until(NEWS_LIMIT, move || Box::pin(async move { self.agreed_master(key).await })).await;
        master.unwrap_or_else(|error| panic!("no master of {key}: {error}"))
    }

    /// The replicas of a master, as the master sees them.
    ///
    /// # Panics
    ///
    /// If the master does not tell.
    pub async fn replicas_of(&self, master: RedisNode) -> Vec<RedisNode> {
        self.replicas(master).await.unwrap_or_else(|error| panic!("no replicas of {master:?}: {error}"))
    }

    /// Freezes a node. It still accepts connections, and does not answer.
    ///
    /// # Panics
    ///
    /// If the node cannot be frozen.
    pub async fn pause(&self, node: RedisNode) {
        self.group.pause(node).await;
    }

    /// Lets a node go on, with all data that has come in meanwhile.
    ///
    /// # Panics
    ///
    /// If the node does not go on.
    pub async fn resume(&self, node: RedisNode) {
        self.group.resume(node).await;
    }

    /// Kills a node, paused or not.
    ///
    /// # Panics
    ///
    /// If the node cannot be killed.
    pub async fn kill(&mut self, node: RedisNode) {
        self.group.kill(node).await;
    }

    /// Starts a node again after [`kill`](Self::kill): empty, but with its place in the cluster.
    ///
    /// # Panics
    ///
    /// If the node does not start.
    pub async fn start_again(&mut self, node: RedisNode) {
        self.group.start_again(node).await;
    }

    /// Waits until a node that is neither paused nor killed is the master of a key's slot. Then all such
    /// nodes agree on that, and for all of them the cluster is complete.
    ///
    /// # Panics
    ///
    /// If that takes too long.
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

    /// Waits until each node that is neither paused nor killed reports three things: the cluster is
    /// complete, all nodes are there, and it is connected with its replica or master.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub async fn ready(&self) {
        self.until_ready().await.unwrap_or_else(|error| panic!("the cluster is not ready: {error}"));
    }

    async fn started(args: &[&str], tls: Option<Tls>) -> io::Result<Self> {
        let found = &finder::found().await?.server;
        let access = &Access::by(args, tls);
        // Each node has a second port, for the other nodes.
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

/// Nodes that have got the order to form a cluster.
async fn group(
    found: &'static FinderOutcome,
    access: &Access,
    args: &[&str],
    ports: &[u16],
) -> io::Result<Group> {
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

/// The same steps as `redis-cli --cluster create`.
async fn join(group: &Group, buses: &[u16]) -> io::Result<()> {
    let (masters, replicas) = group.members().split_at(MASTERS);
    for (index, master) in masters.iter().enumerate() {
        let (first, end) = (index * SLOTS / MASTERS, (index + 1) * SLOTS / MASTERS);
        let (first, last) = (first.to_string(), (end - 1).to_string());
        master.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
        // Otherwise masters argue about their slots.
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
        // Only after the nodes have met.
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
