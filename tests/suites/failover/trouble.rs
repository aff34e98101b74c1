//! Failovers that are out of the ordinary.

use std::time::Duration;

use tokio::time::sleep;

use crate::changes;
use crate::load::Load;
use crate::servers::{Kind, Loss, tell};
use crate::world::{KEY, SOON, World, in_turn, is_long, key_of, until};

/// A client does not notice on an open connection that the other end has become a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_cluster_a_master_that_hands_over_goes_on_announcing() {
    in_turn(a_master_that_hands_over_goes_on_announcing).await;
}

async fn a_master_that_hands_over_goes_on_announcing() {
    let world = World::start(Kind::Cluster).await;
    let load = Load::start(&world);
    let cluster = world.servers.cluster();
    let before = world.agreed().await;
    for _ in 0..2 {
        let old = cluster.master_of(&key_of(KEY)).await;
        let [replica] = cluster.replicas_of(old).await[..] else { panic!("not one replica") };
        let _: String = tell(replica, &["CLUSTER", "FAILOVER"]).await;
        let handed_over = until(SOON * 5, async || cluster.master_of(&key_of(KEY)).await == replica).await;
        assert!(handed_over.is_some(), "it does not hand over");
        cluster.ready().await;
        assert_eq!(world.calls(), 0);
        assert_eq!(world.agreed().await, before);
    }
    changes::are_seen_by_all(&world, 16).await;
    let sample = load.end().await;
    println!("handed over twice: {sample}");
    sample.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_sentinel_a_master_that_is_made_to_hand_over() {
    in_turn(a_master_that_is_made_to_hand_over).await;
}

async fn a_master_that_is_made_to_hand_over() {
    let mut world = World::start(Kind::Sentinel).await;
    let load = Load::start(&world);
    let before = world.agreed().await;
    let old = world.servers.master(KEY).await;
    let redis = world.servers.sentinel();
    let _: String = tell(redis.sentinels()[0], &["SENTINEL", "FAILOVER", redis.master_name()]).await;
    let handed_over = until(SOON * 10, async || redis.master().await != old).await;
    assert!(handed_over.is_some(), "it does not hand over");
    redis.ready().await;
    sleep(SOON).await;
    assert_eq!(world.agreed().await, before);
    assert_eq!(world.calls(), 0);
    changes::are_seen_by_all(&world, 16).await;
    load.end().await.check();
}

/// A sentinel that was away when the others agreed names the old master for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_sentinel_one_that_missed_the_failover_is_not_believed() {
    in_turn(one_that_missed_the_failover_is_not_believed).await;
}

async fn one_that_missed_the_failover_is_not_believed() {
    let mut world = World::start(Kind::Sentinel).await;
    let before = world.agreed().await;
    let late = world.servers.sentinel().sentinels()[2];
    world.servers.lose(late, Loss::Paused).await;
    let old = world.servers.master(KEY).await;
    world.servers.lose(old, Loss::Paused).await;
    world.servers.failed_over(KEY).await;
    // Both are back. For a moment neither knows its role.
    world.servers.bring_back(old, Loss::Paused).await;
    world.servers.bring_back(late, Loss::Paused).await;
    let newcomer = world.patient();
    assert_eq!(newcomer.id().await, before, "it has asked the old master");
    let renewed = newcomer.manager.force_refresh().await.expect("a token").id();
    let seen = until(SOON, async || world.try_agreed().await == Some(renewed)).await;
    println!("a sentinel that was late: seen by all after {seen:?}");
    assert!(seen.is_some());
    assert_eq!(world.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_two_failovers_one_after_the_other() {
    in_turn(|| async {
        two_failovers(Kind::Cluster).await;
        if is_long() {
            two_failovers(Kind::Sentinel).await;
        }
    })
    .await;
}

async fn two_failovers(kind: Kind) {
    let mut world = World::start(kind).await;
    let load = Load::start(&world);
    let before = world.agreed().await;
    for _ in 0..2 {
        let old = world.servers.master(KEY).await;
        world.servers.lose(old, Loss::Paused).await;
        world.servers.failed_over(KEY).await;
        world.servers.bring_back(old, Loss::Paused).await;
        if kind == Kind::Cluster {
            // The new master has no other replica that could take over.
            world.servers.ready().await;
        }
    }
    sleep(SOON + Duration::from_millis(500)).await;
    assert_eq!(world.agreed().await, before, "{kind:?}");
    assert_eq!(world.calls(), 0, "{kind:?}");
    changes::are_seen_by_all(&world, 16).await;
    let sample = load.end().await;
    println!("{kind:?}, two failovers: {sample}");
    sample.check();
}

/// The cluster has forgotten this node, and the node goes on as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_cluster_a_node_that_was_forgotten_leads_nobody_astray() {
    in_turn(a_node_that_was_forgotten_leads_nobody_astray).await;
}

async fn a_node_that_was_forgotten_leads_nobody_astray() {
    let world = World::start(Kind::Cluster).await;
    let before = world.agreed().await;
    let cluster = world.servers.cluster();
    let master = cluster.master_of(&key_of(KEY)).await;
    let [replica] = cluster.replicas_of(master).await[..] else { panic!("not one replica") };
    let id: String = tell(replica, &["CLUSTER", "MYID"]).await;
    let _: String = tell(replica, &["CLUSTER", "RESET", "HARD"]).await;
    for node in cluster.nodes().into_iter().filter(|node| *node != replica) {
        let _: String = tell(node, &["CLUSTER", "FORGET", &id]).await;
    }
    for _ in 0..10 {
        // The test measures no deadline here.
        let late = world.patient();
        assert_eq!(late.id().await, before);
    }
    assert_eq!(world.calls(), 0);
    changes::are_seen_by_all(&world, 16).await;
}
