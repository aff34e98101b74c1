//! Processes that ask for nothing while another server replaces the master.

use std::time::Instant;

use requestforge::TokenStorage;
use tokio::time::sleep;

use crate::servers::{Kind, Loss, try_with};
use crate::times::Times;
use crate::world::{KEY, SOON, World, in_turn, key_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_who_slept_through_a_failover_has_the_others_token_afterwards() {
    in_turn(|| try_with(Kind::Sentinel, Loss::Paused, expect_the_others_token)).await;
}

async fn expect_the_others_token(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    let old = world.servers.master(KEY).await;
    world.servers.lose(old, loss).await;
    world.servers.failed_over(KEY).await;
    let awake = world.patient();
    let renewed = awake.manager.force_refresh().await.expect("a token").id();
    sleep(SOON).await;
    let mut times = Times::new();
    for process in &world.processes {
        let begun = Instant::now();
        assert_eq!(process.id().await, renewed, "{kind:?}, {loss:?}: it has slept on");
        times.add(begun.elapsed());
    }
    println!("{kind:?}, {loss:?}: the first call after a failover takes {times}");
    assert_eq!(world.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_cluster_who_knows_the_other_masters_only_shares_when_it_must() {
    in_turn(who_knows_the_other_masters_only_shares_when_it_must).await;
}

async fn who_knows_the_other_masters_only_shares_when_it_must() {
    let mut world = World::start(Kind::Cluster).await;
    let old = world.servers.master(KEY).await;
    let elsewhere = key_elsewhere(&world).await;
    let newcomer = world.patient();
    let other = world.manager(&newcomer.storage, &elsewhere);
    other.get_token().await.expect("a token");
    world.servers.lose(old, Loss::Paused).await;

    // Reads a key of another master while the cluster is not complete.
    let begun = Instant::now();
    let (mut refused, mut last) = (0, None);
    let mut errors = std::collections::BTreeSet::new();
    while begun.elapsed() < SOON * 3 {
        if let Err(error) = newcomer.storage.get(&elsewhere).await {
            refused += 1;
            last = Some(begun.elapsed());
            errors.insert(error.to_string());
        }
        other.get_token().await.expect("a token");
        sleep(std::time::Duration::from_millis(10)).await;
    }
    println!("keys on another master: {refused} refusals, the last one after {last:?}: {errors:?}");
    world.servers.failed_over(KEY).await;
    let calls = world.calls();
    let begun = Instant::now();
    let shared = newcomer.id().await;
    println!("the first use of the new master takes {:?}", begun.elapsed());
    assert_eq!(shared, world.agreed().await);
    assert_eq!((calls, world.calls()), (1, 1));
}

pub(crate) async fn key_elsewhere(world: &World) -> String {
    let master = world.servers.master(KEY).await;
    for number in 0.. {
        let key = format!("other-{number}");
        if world.servers.cluster().master_of(&key_of(&key)).await != master {
            return key;
        }
    }
    unreachable!("there are three masters")
}
