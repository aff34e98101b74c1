//! Steps that fail, and tokens that their endpoints reject.

use std::error::Error;
use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind, OAuthErrorCode, TokenStorage};
use forge_storage_memory::InMemoryTokenStorage;
use http::StatusCode;

use crate::world::{CallOutcome, World, token, unauthorized};

#[tokio::test]
async fn an_error_names_pipeline_and_step_and_keeps_what_it_says_of_its_cause() {
    let world = World::chain();
    let storage = InMemoryTokenStorage::new();
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    let kind = AuthenticationErrorKind::Refused(OAuthErrorCode::Other("slow_down".to_owned()));
    let cause = AuthenticationError::new("elsewhere", kind.clone())
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
        .with_retry_after(Duration::from_secs(7))
        .with_source(std::io::Error::other("io"));
    world.steps[1].then(CallOutcome::Error(cause));

    let error = pipeline.execute(false).await.unwrap_err();
    assert_eq!((error.service_name(), error.step(), error.kind()), ("api", Some("user"), &kind));
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert!(error.is_transient() && error.source().unwrap().is::<std::io::Error>());
    let text = "api: step `user`: no token: the token endpoint refused with `slow_down` (status 503)";
    assert_eq!(error.to_string(), text);

    // The token that was fetched before stays, and no other one was stored.
    let told: Vec<_> = world.steps.iter().map(|step| step.state().told.len()).collect();
    assert_eq!((told, world.calls()), (vec![0, 1, 0], vec![1, 1, 0]));
    assert_eq!(world.steps[1].state().told[0].to_string(), text);
    assert!(storage.exists("api:app").await.unwrap() && !storage.exists("api:user").await.unwrap());
    world.pass(7);
    assert_eq!(token(&pipeline).await, "session-1");
    assert_eq!(world.calls(), [1, 2, 1]);
}

#[tokio::test]
async fn inv08_dependants_come_back_when_the_failing_step_does() {
    let world = World::chain();
    let pipeline = world.pipeline();
    for round in 0..6 {
        world.steps[0].fail(AuthenticationErrorKind::Connect);
        let left = pipeline.execute(false).await.unwrap_err().cool_down().unwrap();
        assert!(left > Duration::ZERO && left <= Duration::from_secs(1 << round), "{left:?}");
        // During the cool-down the pipeline calls no step, and each error says how much of it is left.
        let last = Duration::from_millis(1);
        world.clock.advance(left.saturating_sub(last));
        let still = pipeline.execute(false).await.unwrap_err();
        assert_eq!((still.cool_down(), still.step()), (Some(last), Some("app")));
        assert_eq!(world.calls(), [round + 1, 0, 0]);
        world.clock.advance(last);
    }
    assert_eq!(token(&pipeline).await, "session-1");
}

#[tokio::test]
async fn a_step_whose_token_is_refused_with_401_renews_what_it_depends_on_down_to_the_root() {
    let world = World::chain();
    let pipeline = world.pipeline();
    token(&pipeline).await;
    // The app token is revoked, and so is the user token that was bought with it.
    world.steps[1].state().revoked.push("app-1".to_owned());
    world.steps[2].state().revoked.push("user-1".to_owned());
    pipeline.invalidate_step("session").await.unwrap();
    assert_eq!(token(&pipeline).await, "session-3");
    assert_eq!(world.calls(), [2, 3, 3]);
    assert!(world.steps.iter().all(|step| step.state().told.is_empty()));
}

#[tokio::test]
async fn a_second_401_of_a_step_is_its_error() {
    let world = World::chain();
    let pipeline = world.pipeline();
    world.steps[1].then(CallOutcome::Error(unauthorized()));
    world.steps[1].then(CallOutcome::Error(unauthorized()));
    let error = pipeline.execute(false).await.unwrap_err();
    assert_eq!((error.step(), error.status()), (Some("user"), Some(StatusCode::UNAUTHORIZED)));
    assert_eq!(world.calls(), [2, 2, 0]);
    assert_eq!(world.steps[1].state().told.len(), 1);
}

#[tokio::test]
async fn the_first_401_stands_where_nothing_new_is_to_be_had() {
    let world = World::new().step("app", &[]);
    world.steps[0].then(CallOutcome::Error(unauthorized()));
    assert_eq!(world.pipeline().execute(false).await.unwrap_err().step(), Some("app"));
    assert_eq!(world.calls(), [1]);

    // Recent renewals of the app token did not help, so the pipeline does not renew it again.
    let world = World::chain();
    let pipeline = world.pipeline();
    for _ in 0..2 {
        world.steps[1].then(CallOutcome::Error(unauthorized()));
    }
    pipeline.execute(false).await.unwrap_err();
    assert_eq!(world.calls(), [2, 2, 0]);
    world.steps[1].then(CallOutcome::Error(unauthorized()));
    pipeline.execute(true).await.unwrap_err();
    world.steps[1].then(CallOutcome::Error(unauthorized()));
    let error = pipeline.execute(true).await.unwrap_err();
    assert_eq!((error.step(), error.status()), (Some("user"), Some(StatusCode::UNAUTHORIZED)));
    assert_eq!(world.calls(), [4, 4, 0]);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_after_a_401_is_why_there_is_none() {
    let world = World::chain();
    let pipeline = world.pipeline();
    token(&pipeline).await;
    world.steps[1].state().revoked.push("app-1".to_owned());
    pipeline.invalidate_step("user").await.unwrap();
    world.steps[0].fail(AuthenticationErrorKind::Connect);
    let error = pipeline.execute(false).await.unwrap_err();
    assert_eq!((error.step(), error.is_transient()), (Some("app"), true));
    let told: Vec<_> = world.steps.iter().map(|step| step.state().told.len()).collect();
    assert_eq!((told, world.calls()), (vec![1, 1, 0], vec![2, 2, 1]));
    world.pass(2);
    assert_eq!(token(&pipeline).await, "session-2");
}

#[tokio::test]
async fn inv11_a_token_that_was_of_use_is_renewed_at_once_when_it_is_refused() {
    let world = World::chain();
    let pipeline = world.pipeline();
    token(&pipeline).await;
    for round in 1..4 {
        world.steps[1].state().revoked.push(format!("app-{round}"));
        pipeline.invalidate_step("user").await.unwrap();
        token(&pipeline).await;
        assert_eq!(world.calls()[0], round + 1);
    }
}
