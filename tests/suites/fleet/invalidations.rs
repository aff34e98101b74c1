//! How soon an invalidation in one process is seen by the others.

use std::time::{Duration, Instant};

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Order, Report, What, now};
use tokio::time::{sleep, timeout};

use crate::machine::{Machine, Times};
use crate::member::{Fleet, settings, the_token};
use crate::redis::Redis;
use crate::{alone, rounds};

const SIZE: usize = 8;
const LIMIT: Duration = Duration::from_millis(50);
/// Who had no processor for so long was late for that reason. There are three on the way that may be late
/// one after the other: who invalidates, Redis, and who is to see it.
const USUAL_WAIT: Duration = Duration::from_millis(10);
/// Less than the time after which tokens are compared with those in Redis anyway.
const SEEN_AT_ALL: Duration = Duration::from_secs(5);
/// Of all rounds one in so many may be left out.
const TENTH: usize = 10;
/// How often all is measured anew, when others had the processors.
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
            match invalidation(&fleet, &redis, &machine, round % SIZE).await {
                Some(seen) => times.add(seen),
                None => left_out += 1,
            }
        }
        println!(
            "invalidations: {} rounds, until the last of {} has seen it {times}; {left_out} left out since \
             somebody had no processor",
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

/// How long it took until all have seen what this one did; `None`: for want of processors nobody knows.
async fn invalidation(fleet: &Fleet, redis: &Redis, machine: &Machine, by: usize) -> Option<Duration> {
    let key = "invalidated".to_owned();
    the_token(&fleet.all(What::Get, &key, 1).await);
    for report in fleet.told(&Order::Watch(key.clone())).await {
        assert!(matches!(report, Some(Report::Done)), "{report:?}");
    }
    sleep(Duration::from_millis(3)).await;

    let begun = Instant::now();
    let begun_at = now();
    let invalidated = fleet.members[by].begun(What::Invalidate, &key, 1);
    let mut stood_still = Duration::ZERO;
    while !invalidated.is_finished() {
        stood_still = stood_still.max(redis.way().await);
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
    is_usual.then_some(seen)
}
