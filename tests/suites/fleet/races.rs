//! Invalidations and new tokens at the same moment, from all sides: whoever comes last, in the end all
//! have what Redis has.

use std::collections::BTreeSet;
use std::time::Duration;

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Order, Outcome, Report, What, Work};
use tokio::time::sleep;

use crate::member::{Fleet, settings, soon};
use crate::redis::Redis;
use crate::{alone, rounds};

const SIZE: usize = 8;
/// So many races at once, each about another key.
const AT_ONCE: usize = 10;
/// From the last answer on.
const SETTLED: Duration = Duration::from_millis(50);
/// Within so many microseconds everything begins: sometimes a fetch is over by then.
const SPREAD: usize = 40_000;
/// Different in each batch, so that tokens come at another moment of the race.
const CALLS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(3), Duration::from_millis(10)];

#[tokio::test(flavor = "multi_thread")]
async fn inv19_after_racing_invalidations_and_fetches_nobody_has_another_token_than_redis() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let fleet = Fleet::start(SIZE, &settings(&server, &redis)).await;
    let (mut random, rounds) = (Random(4), rounds(5_000, 500));
    let (mut left_empty, mut disagreed) = (0, 0);
    for batch in 0..rounds / AT_ONCE {
        server.set_delay(CALLS[batch % CALLS.len()]);
        // The same keys again, so that tokens of earlier races are there to be served by mistake.
        let keys: Vec<_> = (0..AT_ONCE).map(|number| format!("race {number}")).collect();
        let outcomes = race(&fleet, &keys, &mut random).await;
        sleep(SETTLED).await;

        let at_hand = fleet.told(&Order::Show(keys.clone())).await;
        for (number, key) in keys.iter().enumerate() {
            let stored = redis.token(key).await;
            left_empty += usize::from(stored.is_none());
            let tokens = outcomes.iter().flat_map(|outcomes| &outcomes[number].tokens);
            disagreed += usize::from(tokens.collect::<BTreeSet<_>>().len() > 1);
            for (member, report) in at_hand.iter().enumerate() {
                let Some(Report::AtHand(tokens)) = report else { panic!("nothing to show: {report:?}") };
                let shown = tokens[number].as_ref();
                assert!(
                    shown.is_none() || shown == stored.as_ref(),
                    "{member} serves {shown:?} instead of {stored:?}, for {key} in batch {batch}"
                );
            }
        }
    }
    println!(
        "races: {rounds} over {AT_ONCE} keys by {SIZE} processes, 0 stale reads; in {disagreed} of them callers \
         got different tokens, {left_empty} left no token"
    );
    assert!(disagreed * 2 > rounds && left_empty > 0, "hardly a race");
}

/// For each key one who fetches and one who invalidates, and whatever the others do.
async fn race(fleet: &Fleet, keys: &[String], random: &mut Random) -> Vec<Vec<Outcome>> {
    let mut work = vec![Vec::new(); SIZE];
    for key in keys {
        let fetching = random.below(SIZE);
        let invalidating = (fetching + 1 + random.below(SIZE - 1)) % SIZE;
        for (member, work) in work.iter_mut().enumerate() {
            let what = match random.below(8) {
                _ if member == fetching => What::Force,
                _ if member == invalidating => What::Invalidate,
                0 => What::Force,
                1 => What::Invalidate,
                2 => What::Reject,
                _ => What::Get,
            };
            work.push(Work {
                key: key.clone(),
                what,
                tasks: 1 + random.below(2),
                after: random.below(SPREAD) as u64,
            });
        }
    }
    let at = soon();
    let told = fleet.members.iter().zip(work).map(|(member, work)| {
        let member = member.clone();
        tokio::spawn(async move { member.told(Order::Run { work, at }).await })
    });
    let mut all = Vec::new();
    for report in told.collect::<Vec<_>>() {
        let Ok(Some(Report::Outcomes(outcomes))) = report.await else { panic!("no outcomes") };
        for outcome in &outcomes {
            assert!(outcome.errors.is_empty(), "{outcome:?}");
        }
        all.push(outcomes);
    }
    all
}

/// The same numbers at each run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default() % limit
    }
}
