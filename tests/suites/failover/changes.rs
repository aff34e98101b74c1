//! How soon all see what one of them has changed.

use std::time::{Duration, Instant};

use requestforge::{AuthenticationError, TokenId};
use tokio::time::sleep;

use crate::machine::{Machine, Times};
use crate::world::World;

/// By the message, not by a comparison that is due now and then.
const LIMIT: Duration = Duration::from_millis(50);
const SEEN_AT_ALL: Duration = Duration::from_secs(5);
/// How often all is measured anew, when others had the processors.
const ATTEMPTS: usize = 5;

/// Each process invalidates in turn, or renews, and all others see it at once.
pub(crate) async fn are_seen_by_all(world: &World, rounds: usize) {
    let machine = Machine::watch();
    for _ in 0..ATTEMPTS {
        let (mut times, mut left_out) = (Times::new(), 0);
        for round in 0..rounds {
            let begun = Instant::now();
            let seen = change(world, round).await;
            let is_excused = !machine.stood_still_since(begun).is_zero();
            match seen {
                // Who was in time in spite of it needs no excuse.
                Ok(seen) if seen <= LIMIT || !is_excused => times.add(seen),
                Err(error) if !is_excused => panic!("Redis is there: {error:?}"),
                Ok(_) | Err(_) => left_out += 1,
            }
        }
        println!("  {} changes seen by all: {times}; {left_out} left out", times.count());
        if left_out * 4 <= rounds {
            assert!(times.percentile(90) <= LIMIT, "seen too late: {times}");
            assert!(times.percentile(100) <= LIMIT * 4, "seen too late: {times}");
            return;
        }
    }
    panic!("this machine has too much else to do to measure anything");
}

/// How long it took until the last one saw it, with the change itself.
async fn change(world: &World, round: usize) -> Result<Duration, AuthenticationError> {
    let before = world.agreed().await;
    let by = &world.processes[round % world.processes.len()];
    let begun = Instant::now();
    if round.is_multiple_of(2) {
        by.manager.invalidate_token().await?;
    } else {
        by.manager.force_refresh().await.expect("a token");
    }
    while sees(world, before) {
        assert!(begun.elapsed() < SEEN_AT_ALL, "it is never seen");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(begun.elapsed())
}

fn sees(world: &World, before: TokenId) -> bool {
    world.processes.iter().any(|process| process.has(before))
}
