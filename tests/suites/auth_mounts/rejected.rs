//! The reaction to a rejection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forge_tests::StatusCode;
use requestforge::{ExponentialAuthRetryStrategy, SimpleAuthRetryStrategy};

use crate::mount::{Body, Mount, Request};
use crate::world::World;

on_each_mount! {
    inv11_100_requests_with_one_revoked_token_are_one_renewal,
    inv12_insufficient_scope_is_never_renewed_nor_replayed,
    inv12_the_second_401_goes_to_the_caller_with_its_body,
    inv12_the_documents_strategy_gets_in_with_the_third_token,
    inv11_while_a_later_replay_waits_no_other_call_gets_the_rejected_token,
    inv12_a_stream_is_sent_once_and_the_token_is_renewed_all_the_same,
    the_401_of_a_stream_stands_where_the_renewal_fails,
    a_body_that_is_replayed_arrives_whole,
    inv15_without_a_token_nothing_is_sent,
    inv15_nothing_is_replayed_where_the_renewal_fails,
}

async fn inv11_100_requests_with_one_revoked_token_are_one_renewal<M: Mount>() {
    const REQUESTS: usize = 100;
    let world = Arc::new(World::<M>::with_revoked_token().await);
    world.server.set_delay(Duration::from_millis(20));
    for id in 0..REQUESTS {
        world.api.hold(&id.to_string());
    }
    let requests: Vec<_> = (0..REQUESTS)
        .map(|id| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.get(&id.to_string()).await.expect("an answer").status })
        })
        .collect();
    world.api.until_waiting(REQUESTS).await;

    // The API has already rejected all tokens, and no caller knows. A third of the callers hear it before
    // the renewal, a third during it, and the rest after it.
    for id in 0..REQUESTS {
        if id == REQUESTS / 3 {
            until(|| world.server.token_calls() == 2).await;
        }
        if id == 2 * REQUESTS / 3 {
            until(|| world.server.tokens_issued() == 2).await;
        }
        world.api.release(&id.to_string());
    }
    for request in requests {
        assert_eq!(request.await.expect("no panic"), StatusCode::OK);
    }
    assert_eq!(world.server.token_calls(), 2, "the first fetch, and one renewal");
    assert_eq!(world.api.max_sends_per_request(), 2);
    assert_eq!((world.api.rejected(), world.api.accepted()), (REQUESTS, REQUESTS));
}

async fn inv12_insufficient_scope_is_never_renewed_nor_replayed<M: Mount>() {
    let world = World::<M>::new().await;
    world.api.always_reject(true);
    world.api.set_challenge(Some(r#"Bearer error="insufficient_scope", scope="admin""#.to_owned()));
    assert_eq!(world.get("only").await.expect("an answer").status, StatusCode::UNAUTHORIZED);
    assert_eq!((world.api.sends_of("only"), world.server.token_calls()), (1, 1));
}

async fn inv12_the_second_401_goes_to_the_caller_with_its_body<M: Mount>() {
    let world = World::<M>::new().await;
    world.api.always_reject(true);
    let answer = world.get("only").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers["www-authenticate"], forge_tests::Api::CHALLENGE);
    assert_eq!(answer.body, r#"{"error":"invalid_token"}"#);
    assert_eq!((world.api.sends_of("only"), world.server.token_calls()), (2, 2));
    assert_eq!(world.api.tokens_seen(), 2, "the replay has another token");
}

async fn inv12_the_documents_strategy_gets_in_with_the_third_token<M: Mount>() {
    let strategy = ExponentialAuthRetryStrategy::new()
        .max_retries(3)
        .base_delay(Duration::from_millis(500))
        .max_delay(Duration::from_secs(5))
        .multiplier(2.0)
        .jitter(true);
    let world = World::<M>::with(|auth| auth.auth_retry_strategy(strategy)).await;
    world.api.reject_first(2);
    assert_eq!(world.get("only").await.expect("an answer").status, StatusCode::OK);
    assert_eq!((world.api.sends_of("only"), world.server.token_calls()), (3, 3));
    assert_eq!(world.api.tokens_seen(), 3, "no token is sent twice");
}

/// The first replay is sent 1.5 s after the renewal, when the manager's back-off (1 s) is over. So the manager
/// stops handing out the token at the second rejection, while the later replay waits for another 1.5 s.
async fn inv11_while_a_later_replay_waits_no_other_call_gets_the_rejected_token<M: Mount>() {
    let strategy = SimpleAuthRetryStrategy::new().max_retries(2).delay(Duration::from_millis(1_500));
    let world = Arc::new(World::<M>::with(|auth| auth.auth_retry_strategy(strategy)).await);
    world.api.reject_first(2);
    let waiting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.get("waiting").await.expect("an answer").status }
    });
    until(|| world.api.rejected() == 2).await;
    // Wait until the client has marked the token as rejected. The test cannot observe that moment.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.server.token_calls(), 2, "a later replay waits before it renews");
    assert_eq!(world.get("other").await.expect("an answer").status, StatusCode::OK);
    assert_eq!(world.api.sends_of("other"), 1, "the manager hands out another token");
    assert_eq!(waiting.await.expect("no panic"), StatusCode::OK);
    assert_eq!((world.api.sends_of("waiting"), world.server.token_calls()), (3, 3));
}

async fn inv12_a_stream_is_sent_once_and_the_token_is_renewed_all_the_same<M: Mount>() {
    let world = World::<M>::with_revoked_token().await;
    let answer = world.mount.send(streamed(&world)).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.body, r#"{"error":"invalid_token"}"#);
    assert_eq!((world.api.sends_of("streamed"), world.server.token_calls()), (1, 2));
    assert!(world.get("next").await.expect("an answer").status.is_success());
    assert_eq!((world.api.sends_of("next"), world.server.token_calls()), (1, 2));
}

async fn the_401_of_a_stream_stands_where_the_renewal_fails<M: Mount>() {
    let world = World::<M>::with_revoked_token().await;
    world.server.set_failing(Some(StatusCode::BAD_GATEWAY));
    let answer = world.mount.send(streamed(&world)).await.expect("the answer of the API");
    assert_eq!((answer.status, world.api.sends_of("streamed")), (StatusCode::UNAUTHORIZED, 1));
    assert_eq!(answer.body, r#"{"error":"invalid_token"}"#);
}

fn streamed<M: Mount>(world: &World<M>) -> Request {
    Request::post(world.url("/users"), Body::Stream(Bytes::from_static(b"streamed"))).id("streamed")
}

async fn a_body_that_is_replayed_arrives_whole<M: Mount>() {
    let world = World::<M>::with_revoked_token().await;
    let text = "x".repeat(100_000);
    let request = Request::post(world.url("/echo"), Body::Whole(text.clone().into())).id("only");
    let answer = world.mount.send(request).await.expect("an answer");
    let echo: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!((echo["method"].as_str(), echo["body"].as_str()), (Some("POST"), Some(text.as_str())));
    assert_eq!(world.api.sends_of("only"), 2);
}

async fn inv15_without_a_token_nothing_is_sent<M: Mount>() {
    let world = World::<M>::new().await;
    world.server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    let failure = world.get("only").await.expect_err("no token");
    assert!(failure.authentication.is_some(), "{failure:?}");
    assert_eq!(world.api.requests(), 0);
}

async fn inv15_nothing_is_replayed_where_the_renewal_fails<M: Mount>() {
    let world = World::<M>::with_revoked_token().await;
    world.server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    let failure = world.get("only").await.expect_err("no other token");
    assert!(failure.authentication.is_some(), "{failure:?}");
    assert_eq!(world.api.sends_of("only"), 1);
}

/// The test runner ends a test that waits for ever.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
