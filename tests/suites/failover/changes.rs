//! How soon all processes see a change that one of them makes.

use std::time::{Duration, Instant};

use forge_tests::Machine;
use requestforge::AuthenticationError;
use requestforge::storage::TokenId;
use tokio::time::sleep;

use crate::times::Times;
use crate::world::World;

/// The limit for a change that a message announces. The periodic comparison is slower.
const LIMIT: Duration = Duration::from_millis(50);
const SEEN_AT_ALL: Duration = Duration::from_secs(5);
/// For each measurement that counts the test may leave out so many, when other programs had the processors.
const LEFT_OUT: usize = 4;

/// The processes take turns to invalidate or to renew. All others see each change at once.
pub(crate) async fn are_seen_by_all(world: &World, rounds: usize) {
    let machine = Machine::watch();
    let (mut times, mut left_out) = (Times::new(), 0);
    while times.count() < rounds {
        let begun = Instant::now();
        let seen = change(world, times.count() + left_out).await;
        let is_excused = !machine.stood_still_since(begun).is_zero();
        match seen {
            // A process that was in time needs no excuse, even if the machine stood still.
            Ok(seen) if seen <= LIMIT || !is_excused => times.add(seen),
            Err(error) if !is_excused => panic!("Redis is there: {error:?}"),
            Ok(_) | Err(_) => left_out += 1,
        }
        assert!(left_out <= rounds * LEFT_OUT, "this machine has too much else to do to measure anything");
    }
    println!("  {rounds} changes seen by all: {times}; {left_out} left out");
    assert!(times.percentile(90) <= LIMIT, "seen too late: {times}");
    assert!(times.percentile(100) <= LIMIT * 4, "seen too late: {times}");
}

/// The time from the start of the change until the last process has seen it.
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
