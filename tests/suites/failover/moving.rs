//! A slot moves to another master while its tokens are in use, and nothing has failed.

use std::time::Duration;

use tokio::time::sleep;

use crate::changes;
use crate::load::Load;
use crate::servers::Kind;
use crate::world::{KEY, PROCESSES, Process, World, in_turn, key_of, rounds, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_cluster_a_slot_moves_under_load() {
    in_turn(a_slot_moves_under_load).await;
}

async fn a_slot_moves_under_load() {
    let world = World::start(Kind::Cluster).await;
    let load = Load::start(&world);
    let readers: Vec<_> = (0..PROCESSES).map(|_| world.patient()).collect();
    let cluster = world.servers.cluster();
    for round in 0..rounds(10, 2) {
        let before = world.agreed().await;
        let calls = world.calls();
        let old = cluster.master_of(&key_of(KEY)).await;
        let other = other_master(&world, old).await;
        let moving = cluster.begin_to_move(&key_of(KEY), other).await;
        reads(&readers, "before the keys have moved").await;
        moving.move_keys().await;
        reads(&readers, "when the keys have moved").await;
        moving.finish().await;
        reads(&readers, "when the slot has moved").await;
        assert_eq!(world.agreed().await, before);
        assert_eq!(world.calls(), calls, "round {round}");
        changes::are_seen_by_all(&world, 16).await;
    }
    let sample = load.end().await;
    println!("moved: {sample}");
    sample.check();
}

/// A slot with few keys moves within moments. A process that changes one of its tokens meanwhile waits for
/// the move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_cluster_what_is_changed_while_a_slot_moves_is_shared() {
    in_turn(what_is_changed_while_a_slot_moves_is_shared).await;
}

async fn what_is_changed_while_a_slot_moves_is_shared() {
    let world = World::start_patient(Kind::Cluster).await;
    let cluster = world.servers.cluster();
    for round in 0..rounds(20, 4) {
        let before = world.agreed().await;
        let old = cluster.master_of(&key_of(KEY)).await;
        let other = other_master(&world, old).await;
        let moving = cluster.begin_to_move(&key_of(KEY), other).await;
        if round % 2 == 1 {
            moving.move_keys().await;
        }
        let calls = world.calls();
        let manager = world.processes[0].manager.clone();
        let changing = tokio::spawn(async move {
            manager.invalidate_token().await.expect("the slot is there again soon");
            manager.get_token().await.expect("a token").id()
        });
        sleep(Duration::from_millis(60)).await;
        moving.finish().await;
        let renewed = changing.await.expect("no panic");
        assert_ne!(renewed, before);
        let seen = until(Duration::from_secs(1), async || {
            world.processes.iter().all(|process| !process.has(before))
        });
        assert!(seen.await.is_some(), "the invalidated token is still used");
        assert_eq!(world.agreed().await, renewed);
        assert_eq!(world.calls(), calls + 1);
    }
}

async fn other_master(world: &World, than: forge_tests::RedisNode) -> forge_tests::RedisNode {
    for key in ["a", "b", "c"] {
        let master = world.servers.cluster().master_of(key).await;
        if master != than {
            return master;
        }
    }
    panic!("there is one master only");
}

async fn reads(readers: &[Process], when: &str) {
    for process in readers {
        assert!(process.stored().await.is_some(), "{when} the token is not found");
    }
}
