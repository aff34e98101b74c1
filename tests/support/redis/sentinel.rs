//! A Redis with sentinels for one test.

use std::collections::BTreeSet;
use std::time::Duration;
use std::{fmt, io};

use crate::redis::ask::Access;
use crate::redis::finder::{self, FinderOutcome};
use crate::redis::group::{Group, Member, RedisNode, require, until};
use crate::redis::port;
use crate::redis::setup::Setup;
use crate::redis::tls::{Authority, Identity, Tls};

/// One master, two replicas.
const SERVERS: usize = 3;
const SENTINELS: usize = 3;
const QUORUM: usize = 2;
const MASTER_NAME: &str = "forge";

/// Two seconds on an idle machine.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Three seconds on an idle machine, or some more when sentinels have to vote again.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);
/// The limit for news that only has to spread.
const NEWS_LIMIT: Duration = Duration::from_secs(20);

/// A Redis master for one test on 127.0.0.1, with two replicas and three sentinels. Two sentinels together
/// replace the master when it does not answer for a second. All servers end when this value is dropped, and
/// also when the process is killed.
///
/// The engine may still accept connections at the port of a killed container, and end them.
///
/// ```no_run
/// # async fn run() {
/// use forge_tests::RedisSentinel;
///
/// let mut redis = RedisSentinel::start().await;
/// // … a client with `redis.sentinel_urls()` and `redis.master_name()` …
/// let old = redis.kill_master().await;
/// assert_ne!(redis.failed_over().await, old);
/// redis.start_again(old).await; // soon a replica
/// # }
/// ```
pub struct RedisSentinel {
    group: Group,
}

impl RedisSentinel {
    /// Starts all servers. Waits until each sentinel sees the master, its replicas and the other sentinels.
    ///
    /// # Panics
    ///
    /// If there is no Redis (the message says what to do), or if the sentinels do not find each other.
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// Starts master and replicas with more arguments, such as `["--requirepass", "secret"]` or `["--user",
    /// "name", "on", ">secret", "~*", "+@all"]`, and the sentinels with others. The servers also use the
    /// passwords among themselves.
    ///
    /// # Panics
    ///
    /// If there is no Redis (the message says what to do), or if the sentinels do not find each other.
    pub async fn start_with(args: &[&str], sentinel_args: &[&str]) -> Self {
        let started = Self::started([args, sentinel_args], None).await;
        started.unwrap_or_else(|error| panic!("no Redis with sentinels: {error}"))
    }

    /// Starts servers and sentinels that speak only TLS, also among themselves, all with the certificate of
    /// `identity`.
    ///
    /// # Panics
    ///
    /// If there is no Redis (the message says what to do), or if the sentinels do not find each other.
    pub async fn start_tls(authority: &Authority, identity: &Identity) -> Self {
        let start = async { Self::started([&[], &[]], Some(Tls::new(authority, identity)?)).await };
        start.await.unwrap_or_else(|error| panic!("no Redis with sentinels and TLS: {error}"))
    }

    /// The sentinels' name of the master.
    pub fn master_name(&self) -> &'static str {
        MASTER_NAME
    }

    /// The URLs of the sentinels.
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels().iter().map(RedisNode::url).collect()
    }

    /// The sentinels.
    pub fn sentinels(&self) -> Vec<RedisNode> {
        self.group.nodes().split_off(SERVERS)
    }

    /// Master and replicas, in whatever role they are now.
    pub fn servers(&self) -> Vec<RedisNode> {
        self.group.nodes().into_iter().take(SERVERS).collect()
    }

    /// The master. All sentinels that are neither paused nor killed agree on it.
    ///
    /// # Panics
    ///
    /// If they do not agree.
    pub async fn master(&self) -> RedisNode {
        let master = until(NEWS_LIMIT, move || Box::pin(async move { self.agreed_master().await })).await;
        master.unwrap_or_else(|error| panic!("no master: {error}"))
    }

    /// The epoch in which the sentinels agreed on the master. It distinguishes the last failover from
    /// others.
    ///
    /// # Panics
    ///
    /// If they do not tell.
    pub async fn last_failover(&self) -> u64 {
        let told = until(NEWS_LIMIT, move || Box::pin(async move { self.agreed_epoch().await })).await;
        told.unwrap_or_else(|error| panic!("no epoch: {error}"))
    }

    /// Freezes the master, and returns its node.
    ///
    /// # Panics
    ///
    /// If the master cannot be frozen.
    pub async fn pause_master(&self) -> RedisNode {
        let master = self.master().await;
        self.pause(master).await;
        master
    }

    /// Kills the master, and returns its node.
    ///
    /// # Panics
    ///
    /// If the master cannot be killed.
    pub async fn kill_master(&mut self) -> RedisNode {
        let master = self.master().await;
        self.kill(master).await;
        master
    }

    /// Freezes a server or sentinel. It still accepts connections, and does not answer.
    ///
    /// # Panics
    ///
    /// If the server cannot be frozen.
    pub async fn pause(&self, node: RedisNode) {
        self.group.pause(node).await;
    }

    /// Lets a server or sentinel go on, with all data that has come in meanwhile.
    ///
    /// # Panics
    ///
    /// If the server does not go on.
    pub async fn resume(&self, node: RedisNode) {
        self.group.resume(node).await;
    }

    /// Kills a server or sentinel, paused or not.
    ///
    /// # Panics
    ///
    /// If the server cannot be killed.
    pub async fn kill(&mut self, node: RedisNode) {
        self.group.kill(node).await;
    }

    /// Starts a server or sentinel again after [`kill`](Self::kill). A server is empty then. An old master
    /// takes itself for the master until the sentinels tell it otherwise, usually for ten seconds.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    pub async fn start_again(&mut self, node: RedisNode) {
        self.group.start_again(node).await;
    }

    /// Waits until the sentinels agree on a master that is neither paused nor killed, and that takes itself
    /// for a master.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub async fn failed_over(&self) -> RedisNode {
        let failed_over = until(FAILOVER_LIMIT, move || {
            Box::pin(async move {
                let master = self.agreed_master().await?;
                let living = self.group.living().find(|member| member.node == master);
                let living = living.ok_or_else(|| io::Error::other(format!("{master:?} is the master")))?;
                replicates(living, "role:master").await?;
                Ok(master)
            })
        });
        failed_over.await.unwrap_or_else(|error| panic!("no failover: {error}"))
    }

    /// Waits until each sentinel that is neither paused nor killed sees the master, two replicas and two
    /// other sentinels, all of them well. The replicas are then connected with their master.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub async fn ready(&self) {
        self.until_ready().await.unwrap_or_else(|error| panic!("the sentinels are not ready: {error}"));
    }

    async fn started(args: [&[&str]; 2], tls: Option<Tls>) -> io::Result<Self> {
        let found = &finder::found().await?.server;
        let [access, sentinels] = args.map(|args| Access::by(args, tls.clone()));
        let access = [&access, &sentinels];
        let group = port::on_free(SERVERS + SENTINELS, move |ports| {
            Box::pin(async move { group(found, access, args, &ports).await })
        });
        let redis = Self { group: group.await? };
        redis.until_ready().await?;
        Ok(redis)
    }

    async fn until_ready(&self) -> io::Result<()> {
        until(READY_LIMIT, move || {
            Box::pin(async move {
                let master = self.agreed_master().await?;
                for sentinel in self.living_sentinels() {
                    sees_all(sentinel).await?;
                }
                let [servers, _] = self.parts();
                for member in servers {
                    let role = if member.node == master { "role:master" } else { "master_link_status:up" };
                    replicates(member, role).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn agreed_master(&self) -> io::Result<RedisNode> {
        let mut ports = BTreeSet::new();
        for sentinel in self.living_sentinels() {
            let told = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await?;
            ports.extend(told.get(1).cloned());
        }
        let agreed = |node: &RedisNode| ports.len() == 1 && ports.contains(&node.port().to_string());
        let node = self.servers().into_iter().find(agreed);
        node.ok_or_else(|| io::Error::other(format!("the sentinels name the masters {ports:?}")))
    }

    async fn agreed_epoch(&self) -> io::Result<u64> {
        let mut epochs = BTreeSet::new();
        for sentinel in self.living_sentinels() {
            let master = sentinel.ask(&["SENTINEL", "MASTER", MASTER_NAME]).await?;
            epochs.extend(values(&master, "config-epoch").map(ToOwned::to_owned));
        }
        let agreed = epochs.first().filter(|_| epochs.len() == 1).and_then(|epoch| epoch.parse().ok());
        agreed.ok_or_else(|| io::Error::other(format!("the sentinels name the epochs {epochs:?}")))
    }

    fn living_sentinels(&self) -> impl Iterator<Item = &Member> {
        let sentinels = self.sentinels();
        self.group.living().filter(move |member| sentinels.contains(&member.node))
    }

    /// Servers and sentinels.
    fn parts(&self) -> [&[Member]; 2] {
        self.group.members().split_at(SERVERS).into()
    }
}

impl fmt::Debug for RedisSentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [servers, sentinels] = [self.servers(), self.sentinels()];
        f.debug_struct("RedisSentinel")
            .field("servers", &servers)
            .field("sentinels", &sentinels)
            .finish_non_exhaustive()
    }
}

/// First servers, and then sentinels: a sentinel would take a master for dead that has not started yet.
async fn group(
    found: &'static FinderOutcome,
    [access, sentinel_access]: [&Access; 2],
    [args, sentinel_args]: [&[&str]; 2],
    ports: &[u16],
) -> io::Result<Group> {
    let (servers, sentinels) = ports.split_at(SERVERS);
    let mut group = Group::new(found, ports).await?;
    let master = servers[0].to_string();
    let setups = servers.iter().enumerate().map(|(index, port)| {
        // Otherwise a replica waits five seconds for others.
        let mut all = vec!["--repl-diskless-sync-delay", "0"];
        all.extend(access.password.iter().flat_map(|password| ["--masterauth", password]));
        all.extend(["--replicaof", "127.0.0.1", &master].iter().filter(|_| index > 0));
        all.extend(args);
        Setup::new(*port, access, &all)
    });
    group.add(found, setups.collect()).await?;
    let setups = sentinels.iter().map(|port| {
        let access = [access, sentinel_access];
        Setup::sentinel(*port, access[1], configuration(*port, access, servers, sentinels), sentinel_args)
    });
    group.add(found, setups.collect()).await?;
    Ok(group)
}

/// Tells the sentinel of the others, as if it had met them before. By themselves sentinels need some seconds
/// for that.
fn configuration(port: u16, access: [&Access; 2], servers: &[u16], sentinels: &[u16]) -> String {
    let id = |port: u16| format!("{port:040x}");
    let mut lines = vec![
        format!("sentinel myid {}", id(port)),
        format!("sentinel monitor {MASTER_NAME} 127.0.0.1 {} {QUORUM}", servers[0]),
        format!("sentinel down-after-milliseconds {MASTER_NAME} 1000"),
        format!("sentinel failover-timeout {MASTER_NAME} 3000"),
    ];
    let [password, sentinel_password] = access.map(|access| access.password.iter());
    lines.extend(password.map(|password| format!("sentinel auth-pass {MASTER_NAME} {password}")));
    lines.extend(sentinel_password.map(|password| format!("sentinel sentinel-pass {password}")));
    for replica in &servers[1..] {
        lines.push(format!("sentinel known-replica {MASTER_NAME} 127.0.0.1 {replica}"));
    }
    for other in sentinels.iter().filter(|other| **other != port) {
        lines.push(format!("sentinel known-sentinel {MASTER_NAME} 127.0.0.1 {other} {}", id(*other)));
    }
    lines.join("\n") + "\n"
}

/// Whether a sentinel sees all servers and sentinels, and none of them down.
async fn sees_all(sentinel: &Member) -> io::Result<()> {
    let master = sentinel.ask(&["SENTINEL", "MASTER", MASTER_NAME]).await?;
    let replicas = sentinel.ask(&["SENTINEL", "REPLICAS", MASTER_NAME]).await?;
    let sentinels = sentinel.ask(&["SENTINEL", "SENTINELS", MASTER_NAME]).await?;
    let flags: Vec<&str> =
        [&master, &replicas, &sentinels].into_iter().flat_map(|told| values(told, "flags")).collect();
    let expected = ["master", "slave", "slave", "sentinel", "sentinel"];
    require(flags == expected, || format!("{:?} sees {flags:?}", sentinel.node))
}

/// The values under this name, in all lists of names and values.
fn values<'a>(told: &'a [String], name: &'a str) -> impl Iterator<Item = &'a str> {
    told.windows(2).filter(move |pair| pair[0] == name).map(|pair| pair[1].as_str())
}

async fn replicates(member: &Member, role: &str) -> io::Result<()> {
    let info = member.text(&["INFO", "replication"]).await?;
    require(info.contains(role), || format!("{:?} says: {info}", member.node))
}
