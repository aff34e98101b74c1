//! The processes renew and invalidate tokens all the time while the master goes away.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use requestforge::storage::TokenId;
use tokio::time::sleep;

use crate::servers::{Kind, Loss, try_with};
use crate::world::{KEY, SOON, World, in_turn, rounds, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_what_was_changed_during_a_failover_is_agreed_on_after_it() {
    in_turn(|| async {
        for _ in 0..rounds(5, 1) {
            try_with(Kind::Cluster, Loss::Paused, expect_agreement).await;
        }
    })
    .await;
}

async fn expect_agreement(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    let old = world.servers.master(KEY).await;
    let changing = tokio::spawn(change(world.processes.clone()));
    sleep(Duration::from_millis(200)).await;
    world.servers.lose(old, loss).await;
    world.servers.failed_over(KEY).await;
    sleep(Duration::from_millis(200)).await;
    changing.abort();
    let _ = changing.await;

    let begun = Instant::now();
    let agreed = world.agreed().await;
    println!("{kind:?}, {loss:?}: {} tokens; agreed {:.1?} later", world.calls(), begun.elapsed());
    let calls = world.calls();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.agreed().await, agreed, "it does not last");
    assert_eq!(world.calls(), calls, "who agrees has nothing to fetch");

    // The old master must not bring back what the processes invalidate now.
    let mut gone = HashSet::new();
    for process in &world.processes {
        gone.insert(process.id().await);
        let invalidated = async || process.manager.invalidate_token().await.is_ok();
        assert!(until(SOON, invalidated).await.is_some(), "Redis is there");
    }
    world.servers.bring_back(old, loss).await;
    world.servers.ready().await;
    let agreed = world.agreed().await;
    assert!(!gone.contains(&agreed), "what was invalidated is back");
}

/// The processes take turns to renew, and now and then one invalidates, whether Redis hears of it or not.
async fn change(processes: Vec<crate::world::Process>) -> Vec<TokenId> {
    let mut ids = Vec::new();
    loop {
        for (index, process) in processes.iter().enumerate() {
            if index % 3 == 2 {
                let _ = process.manager.invalidate_token().await;
                process.id().await;
            } else {
                ids.push(process.manager.force_refresh().await.expect("a token").id());
            }
            sleep(Duration::from_millis(40)).await;
        }
    }
}
