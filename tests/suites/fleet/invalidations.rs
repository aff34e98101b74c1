//! How soon the other processes see an invalidation.

use std::time::{Duration, Instant};

use forge_tests::fleet::{Order, Report, Request, Work, now};
use forge_tests::{AuthorizationServer, Machine};
use tokio::time::{sleep, timeout};

use crate::member::{Fleet, settings, the_caller, the_token};
use crate::redis::Redis;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 8;
const KEYS: usize = 5;
const LIMIT: Duration = Duration::from_millis(50);
/// A process that had no processor for longer than this was late for that reason. Three programs on the way
/// may be late one after the other: the process that invalidates, Redis, and the process that watches.
const USUAL_WAIT: Duration = Duration::from_millis(10);
/// Less than the time after which managers compare their tokens with those in Redis anyway.
const SEEN_AT_ALL: Duration = Duration::from_secs(5);
/// The test may leave out one round in this many.
const TENTH: usize = 10;
/// The test repeats all measurements so often, when other programs had the processors.
const ATTEMPTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn inv19_an_invalidation_in_one_process_is_seen_by_all_within_fifty_milliseconds() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let fleet = Fleet::start(SIZE, &settings(&server, &redis)).await;
    let (machine, rounds) = (Machine::watch(), rounds(500, 50));
    for _ in 0..ATTEMPTS {
        let (mut times, mut left_out) = (Times::new(), 0);
        for round in 0..rounds {
            match invalidation(&fleet, &redis, &machine, round).await {
                Some(seen) => times.add(seen),
                None => left_out += 1,
            }
        }
        println!(
            "invalidations: {} rounds, until the last of {} has seen it {times}; {left_out} left out since \
             somebody was late and had no processor",
            times.count(),
            SIZE - 1
        );
        if left_out * TENTH <= rounds {
            assert!(times.percentile(99) <= LIMIT, "{times}");
            return;
        }
    }
    panic!("this machine has too much else to do to measure anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn inv19_what_was_being_fetched_when_it_was_invalidated_is_nobodys_later() {
    const CALL: Duration = Duration::from_secs(1);

    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let fleet = Fleet::start(2, &settings(&server, &redis)).await;
    // From here on the processes are connected.
    the_token(&fleet.all(Request::Get, "another", 1).await);
    for (by, key) in ["by the process that fetches", "by another"].iter().enumerate() {
        server.set_delay(CALL);
        let calls = server.token_calls();
        let work = |what, after| Work { key: (*key).to_owned(), what, tasks: 1, after };
        let fetching = fleet.members[0].clone();
        let mut told = vec![work(Request::Get, 0)];
        if by == 0 {
            told.push(work(Request::Invalidate, 500_000));
        }
        let fetched = tokio::spawn(async move { fetching.told(Order::Run { work: told, at: now() }).await });
        the_caller(&server, calls).await;
        if by > 0 {
            fleet.members[by].does(Request::Invalidate, key, 1).await;
        }
        let Ok(Some(Report::Outcomes(outcomes))) = fetched.await else { panic!("no outcomes") };
        let token = the_token(&[outcomes[0].clone()]);
        server.set_delay(Duration::ZERO);
        assert_eq!(redis.token(key).await, None, "invalidated {key}");
        assert_ne!(the_token(&fleet.all(Request::Get, key, 1).await), token, "invalidated {key}");
        assert_eq!(server.token_calls(), calls + 2, "invalidated {key}");
    }
    println!(
        "invalidations: a token that was being fetched meanwhile serves those who waited, and nobody else"
    );
}

/// The time until all processes have seen the invalidation; `None` if it was too long for want of
/// processors.
async fn invalidation(fleet: &Fleet, redis: &Redis, machine: &Machine, round: usize) -> Option<Duration> {
    // Several keys, so that a cluster has them at more than one master.
    let (by, key) = (round % SIZE, format!("invalidated {}", round % KEYS));
    the_token(&fleet.all(Request::Get, &key, 1).await);
    for report in fleet.told(&Order::Watch(key.clone())).await {
        assert!(matches!(report, Some(Report::Done)), "{report:?}");
    }
    sleep(Duration::from_millis(3)).await;

    let begun = Instant::now();
    let begun_at = now();
    let invalidated = fleet.members[by].begun(Request::Invalidate, &key, 1);
    let mut stood_still = Duration::ZERO;
    while !invalidated.is_finished() {
        stood_still = stood_still.max(redis.way(&key).await);
    }
    let invalidated = invalidated.await.expect("no panic").expect("an outcome");
    assert!(invalidated.errors.is_empty(), "{invalidated:?}");
    let mut seen = Duration::ZERO;
    let watched = timeout(SEEN_AT_ALL, fleet.told(&Order::Watched)).await;
    for report in watched.expect("all of them see it") {
        let Some(Report::Gone { at, stood_still: there }) = report else { panic!("not seen: {report:?}") };
        seen = seen.max(Duration::from_nanos(at.saturating_sub(begun_at)));
        stood_still = stood_still.max(Duration::from_nanos(there));
    }
    let is_usual = stood_still <= USUAL_WAIT && machine.stood_still_since(begun).is_zero();
    // A process that was in time needs no excuse, even if the machine stood still.
    (seen <= LIMIT || is_usual).then_some(seen)
}
