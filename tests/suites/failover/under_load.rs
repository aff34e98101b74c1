//! The master goes away under load, another one takes over, and the old one comes back.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::changes;
use crate::load::Load;
use crate::servers::{Kind, Loss};
use crate::world::{KEY, SOON, World, in_turn, is_long, rounds, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_sentinel_a_master_that_is_killed_or_paused() {
    in_turn(|| async {
        expect_survival(Kind::Sentinel, Loss::Killed).await;
        if is_long() {
            expect_survival(Kind::Sentinel, Loss::Paused).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_cluster_a_master_that_is_killed_or_paused() {
    in_turn(|| async {
        expect_survival(Kind::Cluster, Loss::Paused).await;
        if is_long() {
            expect_survival(Kind::Cluster, Loss::Killed).await;
        }
    })
    .await;
}

async fn expect_survival(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    for round in 0..rounds(10, 1) {
        let calls = world.calls();
        let before = world.agreed().await;
        let load = Load::start(&world);
        sleep(Duration::from_millis(300)).await;
        let old = world.servers.master(KEY).await;
        let begun = Instant::now();
        world.servers.lose(old, loss).await;
        let new = world.servers.failed_over(KEY).await;
        let took = begun.elapsed();
        assert_ne!(new, old);
        // Only this process asks the new master for anything by itself.
        let newcomer = world.patient();
        assert_eq!(newcomer.id().await, before, "the token was valid");
        let renewed = newcomer.manager.force_refresh().await.expect("a token").id();
        let seen = async || world.processes.iter().all(|process| process.has(renewed));
        let again = until(SOON, seen).await;
        println!(
            "{kind:?}, {loss:?}, round {round}: failed over in {took:.1?}, shared again {again:.1?} later"
        );
        assert!(again.is_some(), "2 s after it, tokens are not shared");
        let extra = world.calls() - calls - 1;
        println!("  {extra} token calls too many");
        assert!(extra <= 1, "{extra} token calls too many");
        assert_eq!(world.agreed().await, renewed);

        changes::are_seen_by_all(&world, rounds(40, 20)).await;
        world.servers.bring_back(old, loss).await;
        world.servers.ready().await;
        changes::are_seen_by_all(&world, rounds(40, 20)).await;
        let sample = load.end().await;
        println!("  {sample}");
        sample.check();
    }
}
