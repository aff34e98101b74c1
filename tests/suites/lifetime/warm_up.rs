//! Before the first request, and after the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, Origin, RawReply, StatusCode};
use requestforge::TokenManager;
use requestforge::testing::ManualClock;
use requestforge::token::SystemClock;

use crate::world::{at_hand, at_origin, builder, name, provider, until};

#[tokio::test]
async fn warm_up_tries_again_after_transient_failures() {
    let calls = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        // The provider repeats the first call within the first attempt.
        0 | 1 => RawReply::status(503),
        _ => RawReply::ok(r#"{"access_token":"t","expires_in":3600}"#),
    })
    .await
    .expect("a server");
    let manager = at_origin(&origin, &Arc::new(SystemClock));
    let status = manager.status();
    assert!(!status.has_token && status.last_error.is_none() && status.cool_down.is_none(), "{status:?}");
    assert!(status.usable_for.is_none() && status.next_renewal.is_none(), "{status:?}");
    manager.warm_up(Duration::from_secs(20)).await.expect("a token");
    assert_eq!(origin.requests().len(), 3);
    let status = manager.status();
    assert!(status.has_token && status.last_error.is_none() && status.cool_down.is_none(), "{status:?}");
    assert!(status.next_renewal < status.usable_for, "{status:?}");
}

#[tokio::test]
async fn warm_up_gives_up_in_time_with_the_last_failure() {
    let origin = Origin::start(|_| RawReply::status(503)).await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = at_origin(&origin, &clock);
    let begun = Instant::now();
    let error = manager.warm_up(Duration::from_millis(300)).await.expect_err("it is down");
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let status = manager.status();
    assert!(!status.has_token && status.last_error.is_some(), "{status:?}");
    assert!(status.cool_down.is_some_and(|left| left <= Duration::from_secs(1)), "{status:?}");
    clock.advance(Duration::from_secs(1));
    let status = manager.status();
    assert!(status.last_error.is_some() && status.cool_down.is_none(), "{status:?}");

    // The same when the server never answers.
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_secs(60));
    let manager = builder(&server, &clock).build().expect("a manager");
    let error = manager.warm_up(Duration::from_millis(100)).await.expect_err("too slow");
    assert!(error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn warm_up_does_not_try_a_wrong_secret_again() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager =
        TokenManager::builder(provider(&server, "wrong", &clock)).clock(clock).build().expect("a manager");
    let begun = Instant::now();
    let error = manager.warm_up(Duration::from_secs(60)).await.expect_err("a wrong secret");
    assert!(error.is_invalid_client(), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(server.token_calls(), 1);
    let cool_down = manager.status().cool_down.expect("a cool-down");
    assert!((Duration::from_secs(5)..=Duration::from_secs(10)).contains(&cool_down), "{cool_down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_waits_for_the_flight_and_ends_background_renewals_only() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    let first = name(&manager.get_token().await.expect("a token"));

    // A renewal is under way. It ends, and its token is not lost.
    server.set_delay(Duration::from_millis(200));
    clock.advance(manager.status().next_renewal.expect("it expires"));
    assert_eq!(at_hand(&manager), Some(first.clone()));
    until("the renewal", || server.token_calls() == 2).await;
    assert!(!manager.shutdown(Duration::from_millis(1)).await, "there was no time");
    assert!(manager.shutdown(Duration::from_secs(20)).await);
    let second = at_hand(&manager).expect("a token");
    assert_ne!(first, second);
    assert!(manager.shutdown(Duration::ZERO).await, "nothing is under way");

    // The manager does not renew in the background any more, but it still gives tokens to callers.
    clock.advance(manager.status().next_renewal.expect("it expires"));
    for _ in 0..10 {
        assert_eq!(name(&manager.get_token().await.expect("a token")), second);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.token_calls(), 2);
    clock.advance(manager.status().usable_for.expect("it expires"));
    assert_ne!(name(&manager.get_token().await.expect("a token")), second);
    assert_eq!(server.token_calls(), 3);
}
