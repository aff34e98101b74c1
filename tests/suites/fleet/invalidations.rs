//! How soon an invalidation in one process is seen by the others.

use std::time::{Duration, Instant};

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Order, Report, What, now};
use tokio::time::sleep;

use crate::machine::{Machine, Times};
use crate::member::{Fleet, settings, the_token};
use crate::redis::Redis;
use crate::{alone, rounds};

const SIZE: usize = 8;
const LIMIT: Duration = Duration::from_millis(50);
/// Who could not look for so long would not have seen it, whatever the library does.
const USUAL_GAP: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn inv19_an_invalidation_in_one_process_is_seen_by_all_within_fifty_milliseconds() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let fleet = Fleet::start(SIZE, &settings(&server, &redis)).await;
    let machine = Machine::watch();
    let (mut times, mut left_out, rounds) = (Times::new(), 0, rounds(500, 50));
    let key = "invalidated".to_owned();
    for round in 0..rounds {
        // Each time another one.
        let (first, rest) = (&fleet.members[round % SIZE], &mut fleet.members.iter().enumerate());
        let others: Vec<_> =
            rest.filter(|(number, _)| *number != round % SIZE).map(|(_, other)| other).collect();
        the_token(&fleet.all(What::Get, &key, 1).await);
        for other in &others {
            assert!(matches!(other.told(Order::Watch(key.clone())).await, Some(Report::Done)));
        }
        sleep(Duration::from_millis(3)).await;
        let (begun, begun_at) = (Instant::now(), now());
        let invalidated = first.does(What::Invalidate, &key, 1).await;
        assert!(invalidated.errors.is_empty(), "{invalidated:?}");
        let (mut seen, mut longest_gap) = (Duration::ZERO, Duration::ZERO);
        for other in others {
            let Some(Report::Gone { at, longest_gap: gap }) = other.told(Order::Watched).await else {
                panic!("not seen in round {round}");
            };
            seen = seen.max(Duration::from_nanos(at.saturating_sub(begun_at)));
            longest_gap = longest_gap.max(Duration::from_nanos(gap));
        }
        if longest_gap > USUAL_GAP || !machine.stood_still_since(begun).is_zero() {
            left_out += 1;
        } else {
            times.add(seen);
        }
    }
    println!(
        "invalidations: {} rounds, until the last of {} has seen it {times}; {left_out} left out since the \
         machine stood still",
        times.count(),
        SIZE - 1
    );
    assert!(left_out * 10 <= rounds, "{left_out} of {rounds}: this machine has too much else to do");
    assert!(times.percentile(99) <= LIMIT, "{times}");
}
