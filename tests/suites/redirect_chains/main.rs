//! Random redirect chains over origins that record every byte. No foreign origin gets a credential, and the
//! client does not restore a header that it has stripped (invariant 13).
//!
//! 10,000 chains, the same in each plain run; with `FORGE_TEST_LONG` 1,000,000, and others each time. A
//! failing chain prints its seed. With `FORGE_TEST_SEED` that chain is the first one.

#![allow(clippy::expect_used)]

mod callers;
mod chain;
mod judge;
#[path = "../fleet/random.rs"]
mod random;
mod world;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callers::{Caller, callers};
use chain::Chain;
use judge::{LeaseRead, judge};
use world::World;

/// The number of chains whose requests the test keeps at a time.
const BATCH: usize = 500;
const WORKERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv13_no_redirect_chain_leads_a_credential_to_a_foreign_origin() {
    let is_long = std::env::var_os("FORGE_TEST_LONG").is_some();
    let chains = if is_long { 1_000_000 } else { 10_000 };
    let first = match std::env::var("FORGE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) if is_long => RandomState::new().hash_one(0) >> 16,
        Err(_) => 20_261_121,
    };
    println!("{chains} chains, with seeds from {first} on");

    let world = World::start().await;
    let callers: Arc<[Caller]> = callers(&world).into();
    let mut seen = LeaseRead::default();
    for batch in 0..chains / BATCH {
        let seeds = (0..BATCH).map(|number| first.wrapping_add((batch * BATCH + number) as u64));
        let chains: Vec<_> = seeds.map(|seed| Chain::random(seed, &world.origins, &callers)).collect();
        let chains = world.begin(chains);
        follow_all(&chains, &callers).await;
        let requests = world.end();
        for (chain, requests) in chains.iter().zip(&requests) {
            judge(chain, &callers[chain.caller], requests, &world.origins, &mut seen);
        }
    }
    println!("{seen:?}");
    // Without these numbers the test would prove little.
    for (what, count) in [
        ("trusted hops with credentials", seen.trusted),
        ("foreign hops", seen.foreign),
        ("the caller's own headers at a foreign origin", seen.own_at_foreign),
        ("chains that came home again", seen.home_again),
        ("bodies that were sent on", seen.bodies_sent_on),
        ("chains that began abroad", seen.began_abroad),
        ("replays and retries", seen.repeated),
    ] {
        assert!(count > chains / 100, "{what}: {count}");
    }
}

async fn follow_all(chains: &Arc<[Chain]>, callers: &Arc<[Caller]>) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (chains, callers, next) = (Arc::clone(chains), Arc::clone(callers), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some(chain) = chains.get(next.fetch_add(1, Ordering::Relaxed)) {
                    callers[chain.caller].follow(chain).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
}
