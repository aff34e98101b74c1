//! A slow Redis that answers in time costs one command time-out in all, however many callers ask and how
//! often.

use std::time::{Duration, Instant};

use forge_tests::undisturbed;
use requestforge::TokenManager;
use tokio::time::sleep;

use crate::world::{Outage, World, alone, stored, until};

/// The documented default, which this test measures.
const DEFAULT: Duration = Duration::from_millis(100);
/// The slack for all fetches together, on a busy machine.
const SLACK: Duration = Duration::from_millis(40);
const FETCHES: usize = 6;

/// A process that uses a slow Redis.
#[derive(Clone, Copy)]
struct Case {
    /// The duration of an answer, in milliseconds.
    answer: u64,
    /// Whether the process has just started, so that its first command waits for the connection, too.
    has_just_started: bool,
    /// The time between two fetches, in milliseconds.
    apart: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_slow_redis_costs_a_process_that_has_just_started_one_time_out_in_all() {
    for answer in [30, 40, 54] {
        costs_one_time_out(Case { answer, has_just_started: true, apart: 300 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_redis_that_becomes_slow_costs_one_time_out_in_all() {
    for answer in [30, 40, 54] {
        costs_one_time_out(Case { answer, has_just_started: false, apart: 300 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_slow_answers_that_are_far_apart_cost_no_more() {
    costs_one_time_out(Case { answer: 30, has_just_started: false, apart: 1_500 }).await;
}

async fn costs_one_time_out(case: Case) {
    let _alone = alone().await;
    undisturbed(|| try_case(case)).await;
}

async fn try_case(Case { answer, has_just_started, apart }: Case) {
    let mut world = World::start().await;
    let manager = world.manager(world.far().command_timeout(DEFAULT).build().expect("a storage"));
    let control = TokenManager::new(world.provider());
    fetch(&control).await;
    if !has_just_started {
        let near = world.near();
        let is_shared = || async {
            let token = manager.get_token().await.expect("a token");
            stored(&near).await.map(|token| token.id()) == Some(token.id())
        };
        assert!(until(Duration::from_secs(10), is_shared).await.is_some());
    }

    let outage = Outage::Slow(answer / 2);
    outage.begin(&mut world).await;
    let (mut added, mut fetches) = (Duration::ZERO, Vec::new());
    for _ in 0..FETCHES {
        let (with, without) = (fetch(&manager).await, fetch(&control).await);
        added += with.saturating_sub(without);
        fetches.push(with);
        sleep(Duration::from_millis(apart)).await;
    }
    println!(
        "answers of {answer} ms, started {has_just_started}, {apart} ms apart: {added:?} of {fetches:?}"
    );
    assert!(added <= DEFAULT + SLACK, "answers of {answer} ms: {added:?} in all, the fetches {fetches:?}");

    outage.end(&mut world).await;
    let near = world.near();
    let is_shared = || async {
        let at_hand = manager.get_token().await.expect("a token");
        stored(&near).await.map(|token| token.id()) == Some(at_hand.id())
    };
    assert!(until(Duration::from_secs(2), is_shared).await.is_some(), "tokens are not shared again");
}

async fn fetch(manager: &TokenManager) -> Duration {
    let begun = Instant::now();
    manager.force_refresh().await.expect("a token");
    begun.elapsed()
}
