//! Work in the background while no caller asks.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use requestforge::testing::ManualClock;

use crate::world::World;

#[test]
fn inv06_a_renewal_that_a_call_has_begun_ends_while_nobody_calls() {
    let clock = Arc::new(ManualClock::new());
    let world = World::with(|manager| manager.clock(clock.clone()));
    world.tokens().get_token().expect("a token");
    clock.advance(world.manager.status().next_renewal.expect("it expires"));
    // Longer than the call that begins the renewal, so that the call does not wait for the renewal.
    world.server.set_delay(Duration::from_millis(200));
    let issued = world.server.tokens_issued();
    let old = world.tokens().get_token().expect("the token at hand");
    assert_eq!(world.server.tokens_issued(), issued, "no caller waits at a rotation");

    let deadline = Instant::now() + Duration::from_secs(30);
    while world.manager.cached().is_none_or(|token| token.id() == old.id()) {
        assert!(Instant::now() < deadline, "the renewal never ends");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(world.server.tokens_issued(), issued + 1);
}
