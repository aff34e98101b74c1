//! Processes invalidate and fetch tokens at the same moment. In any order, in the end all processes
//! have the token that Redis has.

use std::collections::BTreeSet;
use std::time::Duration;

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Order, Outcome, Report, Request, Work};
use tokio::time::sleep;

use crate::member::{Fleet, settings, soon};
use crate::random::Random;
use crate::redis::Redis;
use crate::{alone, rounds};

const SIZE: usize = 8;
/// So many races run at once, each about another key.
const AT_ONCE: usize = 10;
/// The time from the last answer until the state is settled.
const SETTLED: Duration = Duration::from_millis(50);
/// Everything begins within so many microseconds. Sometimes a fetch has ended by then.
const SPREAD: usize = 40_000;
/// The delay differs in each batch, so that tokens come at another moment of the race.
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
        // The same keys again, so that a manager could serve tokens of earlier races by mistake.
        let keys: Vec<_> = (0..AT_ONCE).map(|number| format!("race {number}")).collect();
        let outcomes = race(&fleet, &keys, &mut random).await;
        sleep(SETTLED).await;

        let at_hand = fleet.told(&Order::Show(keys.clone())).await;
        for (number, key) in keys.iter().enumerate() {
            let stored = redis.token(key).await;
            left_empty += usize::from(stored.is_none());
            let tokens = outcomes.iter().filter(|(of, _)| of == key).flat_map(|(_, outcome)| &outcome.tokens);
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

/// For each key one process fetches and one invalidates. The other processes do random work.
async fn race(fleet: &Fleet, keys: &[String], random: &mut Random) -> Vec<(String, Outcome)> {
    let mut work = vec![Vec::new(); SIZE];
    for key in keys {
        let fetching = random.below(SIZE);
        let invalidating = (fetching + 1 + random.below(SIZE - 1)) % SIZE;
        for (member, work) in work.iter_mut().enumerate() {
            let mut doing: Vec<_> = (member == fetching).then_some(Request::Force).into_iter().collect();
            doing.extend((member == invalidating).then_some(Request::Invalidate));
            // Some processes do several things at once.
            for _ in 0..=random.below(2) {
                doing.push(match random.below(8) {
                    0 => Request::Force,
                    1 => Request::Invalidate,
                    2 => Request::Reject,
                    _ => Request::Get,
                });
            }
            for what in doing {
                // An invalidation often comes last.
                let spread = if what == Request::Invalidate { 2 * SPREAD } else { SPREAD };
                let after = u64::try_from(random.below(spread)).expect("a small number");
                work.push(Work { key: key.clone(), what, tasks: 1 + random.below(2), after });
            }
        }
    }
    let at = soon();
    let told = fleet.members.iter().zip(&work).map(|(member, work)| {
        let (member, work) = (member.clone(), work.clone());
        tokio::spawn(async move { member.told(Order::Run { work, at }).await })
    });
    let told: Vec<_> = told.collect();
    let mut all = Vec::new();
    for (work, report) in work.into_iter().zip(told) {
        let Ok(Some(Report::Outcomes(outcomes))) = report.await else { panic!("no outcomes") };
        for (work, outcome) in work.into_iter().zip(outcomes) {
            assert!(outcome.errors.is_empty(), "{outcome:?}");
            all.push((work.key, outcome));
        }
    }
    all
}
