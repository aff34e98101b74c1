//! A token endpoint that is down, and the tokens that are left meanwhile.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::{AuthorizationServer, StatusCode};
use requestforge::AuthenticationErrorKind;
use requestforge::testing::ManualClock;

use crate::world::{at_once, builder, name, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv07_a_valid_token_serves_until_its_end_and_the_endpoint_is_found_again_when_it_is_back() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    let token = name(&manager.get_token().await.expect("a token"));
    clock.advance(manager.status().next_renewal.expect("it expires"));
    server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));

    // The endpoint is down from the first moment of the advisory window on.
    let mut attempts = 0;
    while manager.status().has_token {
        let is_due = manager.status().next_renewal.is_some_and(|left| left.is_zero());
        for _ in 0..10 {
            let answer = at_once(manager.get_token()).expect("nobody waits").expect("a valid token");
            assert_eq!(name(&answer), token);
        }
        if is_due {
            attempts += 1;
            // Asks on, in case the last attempt has not ended yet at the time of this one.
            until("the failure", || {
                at_once(manager.get_token()).expect("nobody waits").expect("a valid token");
                manager.status().cool_down.is_some()
            })
            .await;
        }
        // The provider repeats each attempt once.
        assert_eq!(server.token_calls(), 2 * attempts + 1);
        clock.advance(Duration::from_millis(500));
    }
    println!("{attempts} attempts within the advisory window");
    assert!((5..=16).contains(&attempts), "{attempts} attempts in 4 minutes");

    // There is no token any more. All callers get the reason, and not each of them makes a call.
    let before = server.token_calls();
    for _ in 0..200 {
        let error = manager.get_token().await.expect_err("it is down");
        assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert!(error.is_transient() && !error.is_refresh(), "{error:?}");
    }
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.get_token().await.expect_err("it is down").status() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.expect("no panic"), Some(StatusCode::SERVICE_UNAVAILABLE));
    }
    assert!(server.token_calls() <= before + 2);

    server.set_failing(None);
    let calls = server.token_calls();
    manager.get_token().await.expect_err("the cool-down lasts");
    assert_eq!(server.token_calls(), calls);
    let step = manager.status().cool_down.expect("a cool-down");
    assert!(step <= Duration::from_secs(60), "{step:?}");
    clock.advance(step);
    assert_ne!(name(&manager.get_token().await.expect("it is back")), token);
    assert_eq!(server.token_calls(), calls + 1);
    assert!(manager.status().last_error.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv07_a_connection_refused_is_no_loss_while_the_token_is_valid() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    manager.get_token().await.expect("a token");
    let _port = server.stop().await.expect("stopped");
    clock.advance(manager.status().next_renewal.expect("it expires"));
    assert!(at_once(manager.get_token()).is_some_and(|token| token.is_ok()));
    until("the failure", || manager.status().last_error.is_some()).await;
    assert!(at_once(manager.get_token()).is_some_and(|token| token.is_ok()));
    clock.advance(manager.status().usable_for.expect("it expires"));
    let error = manager.get_token().await.expect_err("nobody listens");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Connect);
}
