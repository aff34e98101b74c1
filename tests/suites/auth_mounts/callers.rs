//! Callers that go away.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::StatusCode;

use crate::mount::Mount;
use crate::rejected::until;
use crate::world::World;

on_each_mount! {
    tasks only:
    inv02_a_caller_that_goes_away_takes_no_renewal_down_with_it,
    inv02_a_caller_that_goes_away_before_there_is_a_token_has_sent_nothing,
}

async fn inv02_a_caller_that_goes_away_takes_no_renewal_down_with_it<M: Mount>() {
    let world = Arc::new(World::<M>::with_revoked_token().await);
    let begin = |id: &'static str| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.get(id).await.expect("an answer").status })
    };
    world.api.hold("stays");
    let stays = begin("stays");
    world.api.until_waiting(1).await;
    // The caller that began the renewal goes away in the middle of it.
    world.server.set_delay(Duration::from_millis(200));
    let goes = begin("goes");
    until(|| world.server.token_calls() == 2).await;
    goes.abort();
    assert!(goes.await.expect_err("it was aborted").is_cancelled());
    world.api.release("stays");
    assert_eq!(stays.await.expect("no panic"), StatusCode::OK);
    assert_eq!((world.api.sends_of("goes"), world.server.token_calls()), (1, 2));
}

async fn inv02_a_caller_that_goes_away_before_there_is_a_token_has_sent_nothing<M: Mount>() {
    let world = Arc::new(World::<M>::new().await);
    world.server.set_delay(Duration::from_millis(200));
    let goes = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.get("goes").await.map(|answer| answer.status) }
    });
    until(|| world.server.token_calls() == 1).await;
    goes.abort();
    assert!(goes.await.expect_err("it was aborted").is_cancelled());
    assert_eq!(world.get("stays").await.expect("an answer").status, StatusCode::OK);
    assert_eq!((world.api.sends_of("goes"), world.server.token_calls()), (0, 1));
}
