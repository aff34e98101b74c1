//! A cluster, and a server behind sentinels.

use forge_tests::{AuthorizationServer, RedisCluster, RedisNode, RedisSentinel, undisturbed};
use requestforge::{RedisTokenStorage, TokenStorage};

use crate::alone;
use crate::counts::{Counter, Counts};
use crate::fleet::{Fleet, MANY, patient, sow, until};
use crate::table::Table;

/// Each of these keys has its slot at another master.
const ELSEWHERE: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_one_connection_to_each_master_that_has_a_token_of_its() {
    undisturbed(connections_to_a_cluster).await;
}

async fn connections_to_a_cluster() {
    let cluster = RedisCluster::start().await;
    let issuer = AuthorizationServer::start().await.expect("a server");
    let _alone = alone().await;
    let servers = Servers::of(&cluster.nodes()).await;
    let seeds = cluster.urls();
    let storage = || patient(RedisTokenStorage::cluster(&seeds[..3]));
    sow(&issuer, storage()).await;
    let mut table = Table::new("Cluster of 3 masters, 3 of the nodes named");
    for size in [1, MANY] {
        let fleet = Fleet::of(size, &issuer, storage);
        until("nobody is connected", async || servers.connected().await == 0).await;
        let before = servers.connections().await;
        let (start, ()) = servers.spent_on(fleet.start()).await;
        let start = start.reading();
        let opened = servers.connections().await - before;
        table.add(
            &format!("start, {size} replicas"),
            size,
            &start,
            format!(
                "each {}; {opened} connections opened, {} stay",
                start.kinds(size as u64),
                servers.connected().await
            ),
        );
        assert_eq!(servers.connected().await, size);
        assert!(start.sent() <= 30 * size as u64, "{start:?}");
        if size == 1 {
            for (number, key) in ELSEWHERE.into_iter().enumerate() {
                fleet.replicas[0].storage.get(key).await.expect("an answer");
                table.say(
                    &format!("tokens under {} keys more", number + 1),
                    format!("{} connections", servers.connected().await),
                );
            }
            assert_eq!(servers.connected().await, 3);
        }
    }
    table.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_asked_at_the_start_and_one_is_listened_to() {
    undisturbed(connections_to_sentinels).await;
}

async fn connections_to_sentinels() {
    let redis = RedisSentinel::start().await;
    let issuer = AuthorizationServer::start().await.expect("a server");
    let _alone = alone().await;
    let sentinels = Servers::of(&redis.sentinels()).await;
    let master = Servers::of(&[redis.master().await]).await;
    let urls = redis.sentinel_urls();
    let storage = || patient(RedisTokenStorage::sentinel(&urls, redis.master_name()));
    sow(&issuer, storage()).await;
    let mut table = Table::new("A master with 3 sentinels");
    for size in [1, MANY] {
        let fleet = Fleet::of(size, &issuer, storage);
        until("nobody is connected", async || {
            master.connected().await == 0 && sentinels.connected().await == 0
        })
        .await;
        let before = sentinels.connections().await;
        let (start, ()) = master.spent_on(fleet.start()).await;
        let start = start.reading();
        until("each has a sentinel that it listens to", async || sentinels.connected().await == size).await;
        let asked = sentinels.connections().await - before;
        table.add(
            &format!("start, {size} replicas"),
            size,
            &start,
            format!(
                "each {}; {asked} connections to sentinels opened, 1 each stays",
                start.kinds(size as u64)
            ),
        );
        assert_eq!(master.connected().await, size);
        assert!(asked <= 8 * size as u64 + 6, "{asked}");
        assert!(start.sent() <= 18 * size as u64, "{start:?}");
    }
    table.print();
}

/// The sum of the counters.
struct Servers(Vec<Counter>);

impl Servers {
    async fn of(nodes: &[RedisNode]) -> Self {
        let mut counters = Vec::new();
        for node in nodes {
            counters.push(Counter::of(&node.url()).await);
        }
        Self(counters)
    }

    async fn connected(&self) -> usize {
        let mut all = 0;
        for server in &self.0 {
            all += server.connected().await;
        }
        all
    }

    async fn connections(&self) -> u64 {
        self.now().await.connections
    }

    async fn now(&self) -> Counts {
        let mut all = Counts::default();
        for server in &self.0 {
            all = all.and(&server.now().await);
        }
        all
    }

    async fn spent_on<T>(&self, what: impl Future<Output = T>) -> (Counts, T) {
        let before = self.now().await;
        let done = what.await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        (self.now().await.less(&before, 1), done)
    }
}
