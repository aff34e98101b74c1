//! Clocks that a user sets, and machines that sleep.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::AuthorizationServer;
use requestforge::AuthenticationError;
use requestforge::testing::ManualClock;

use crate::world::{builder, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv10_a_clock_set_back_while_the_endpoint_answers_does_not_stretch_the_life() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_millis(200));
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.get_token().await.expect("a token").id() }
    });
    until("the call", || server.token_calls() == 1).await;
    clock.step_wall(-3_600_000);
    let first = caller.await.expect("no panic");
    clock.advance(Duration::from_secs(3600));
    assert!(manager.cached().is_none_or(|token| token.id() != first), "an hour old, and issued for an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv10_steps_and_suspends_do_not_stretch_a_life() {
    let server = AuthorizationServer::start().await.expect("a server");
    let day = Duration::from_secs(86_400);
    for (step, suspend) in [
        (-3_600_000, Duration::ZERO),
        (-86_400_000, Duration::ZERO),
        (3_600_000, Duration::ZERO),
        (86_400_000, Duration::ZERO),
        (0, Duration::from_secs(1800)),
        (0, day),
    ] {
        let clock = Arc::new(ManualClock::new());
        let manager = builder(&server, &clock).build().expect("a manager");
        let first: Result<_, AuthenticationError> = manager.get_token().await;
        let first = first.expect("a token").id();
        let begun = server.token_calls();
        clock.step_wall(step);
        clock.suspend(suspend);
        clock.advance(Duration::from_secs(3570).saturating_sub(suspend));
        assert!(manager.cached().is_none(), "{step} {suspend:?}");
        assert_ne!(manager.get_token().await.expect("a token").id(), first);
        assert_eq!(server.token_calls(), begun + 1);
        // The clock is right again. The new token is still good.
        clock.step_wall(-step);
        manager.get_token().await.expect("a token");
        manager.get_token().await.expect("a token");
        assert!(server.token_calls() <= begun + 2, "one call for each step at most");
    }
}
