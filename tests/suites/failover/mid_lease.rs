//! The master goes away while a process holds the lease and its token call is under way.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::load::Load;
use crate::servers::{Kind, Loss, try_with};
use crate::world::{KEY, PROCESSES, Process, SOON, World, in_turn, until};

/// A token call that lasts longer than a failover.
const CALL: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_renewal_outlives_a_failover() {
    in_turn(|| try_with(Kind::Sentinel, Loss::Killed, outlives)).await;
}

async fn outlives(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    let by = world.process();
    by.id().await;
    let load = Load::start(&world);
    let begun = Instant::now();
    let renewing = begin_to_renew(&world, &by).await;
    let old = world.servers.master(KEY).await;
    world.servers.lose(old, loss).await;
    world.servers.failed_over(KEY).await;
    assert!(begun.elapsed() < CALL, "the failover took longer than the call");
    let renewed = renewing.await.expect("no panic");

    let seen = until(SOON, async || world.processes.iter().all(|process| process.has(renewed))).await;
    let calls = world.calls();
    println!("{kind:?}, {loss:?}: the renewed token is seen by all {seen:?} later; {calls} token calls");
    assert!(seen.is_some(), "it is not seen");
    assert_eq!(world.agreed().await, renewed);
    assert!(world.calls() <= 1 + 1);
    load.end().await.check();
}

/// A process that waits for a holder, and cannot hear of it any more, goes on alone, as in any outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_those_who_wait_without_a_token_are_served_and_agree_in_the_end() {
    in_turn(|| try_with(Kind::Sentinel, Loss::Paused, those_who_wait_are_served)).await;
}

async fn those_who_wait_are_served(kind: Kind, loss: Loss) {
    let mut world = World::start_unused(kind).await;
    world.connected().await;
    world.issuer.set_delay(CALL);
    let mut waiting = JoinSet::new();
    for process in world.processes.clone() {
        waiting.spawn(async move { process.id().await });
    }
    assert!(until(SOON, async || world.calls() == 1).await.is_some());
    // Processes that come later get an answer at once: the older token.
    world.issuer.set_delay(Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.calls(), 1, "one fetches for all");
    let old = world.servers.master(KEY).await;
    world.servers.lose(old, loss).await;
    world.servers.failed_over(KEY).await;
    let served = waiting.join_all().await.len();
    let (agreed, begun) = (world.agreed().await, Instant::now());
    let calls = world.calls();
    println!(
        "{kind:?}, {loss:?}: {calls} token calls for {served} who waited; agreed {:?} later",
        begun.elapsed()
    );
    assert_eq!(served, PROCESSES);
    assert!(calls <= PROCESSES, "{calls} token calls");
    assert_eq!(world.agreed().await, agreed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_store_after_a_failover_replaces_nothing_newer() {
    in_turn(|| try_with(Kind::Cluster, Loss::Killed, a_late_store_replaces_nothing_newer)).await;
}

async fn a_late_store_replaces_nothing_newer(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    // The holder's lease does not outlive the failover.
    let short = world.servers.storage().lease(Duration::from_millis(300)).build().expect("a storage");
    let late = world.process_with(short);
    late.id().await;
    let renewing = begin_to_renew(&world, &late).await;
    let old = world.servers.master(KEY).await;
    world.servers.lose(old, loss).await;
    world.servers.failed_over(KEY).await;
    let next = world.patient();
    let newer = next.manager.force_refresh().await.expect("a token").id();
    assert_eq!(next.stored().await.map(|token| token.id()), Some(newer), "it is not stored");
    renewing.await.expect("no panic");

    assert_eq!(next.stored().await.map(|token| token.id()), Some(newer), "the late one has replaced it");
    assert_eq!(world.agreed().await, newer);
    let adopted = until(SOON, async || late.id().await == newer).await;
    assert!(adopted.is_some(), "who was late keeps what nobody else has");
    assert_eq!(world.calls(), 2);
}

/// When this returns, the token call has arrived.
async fn begin_to_renew(
    world: &World,
    process: &Process,
) -> tokio::task::JoinHandle<requestforge::storage::TokenId> {
    let calls = world.calls();
    world.issuer.set_delay(CALL);
    let manager = process.manager.clone();
    let renewing = tokio::spawn(async move { manager.force_refresh().await.expect("a token").id() });
    assert!(until(SOON, async || world.calls() == calls + 1).await.is_some(), "it does not call");
    world.issuer.set_delay(Duration::ZERO);
    renewing
}
