//! Answers after which the manager leaves the endpoint alone for a while.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::{Origin, RawReply, StatusCode};
use requestforge::testing::ManualClock;
use requestforge::token::Clock;

use crate::world::at_origin;

#[tokio::test]
async fn inv08_retry_after_is_heeded() {
    let date = |clock: &ManualClock| (clock.now().wall() + Duration::from_secs(120)).format(HTTP_DATE);
    let clock = Arc::new(ManualClock::new());
    for asked_for in ["120".to_owned(), date(&clock).to_string(), "120".to_owned()] {
        let clock = Arc::clone(&clock);
        let origin = Origin::start(move |_| {
            RawReply::status(429).with_header("retry-after", asked_for.clone()).with_body("slow down")
        })
        .await
        .expect("a server");
        let manager = at_origin(&origin, &clock);
        let error = manager.get_token().await.expect_err("too many");
        assert!(error.is_transient(), "{error:?}");
        let cool_down = manager.status().cool_down.expect("a cool-down");
        assert!((118..=120).contains(&cool_down.as_secs()), "{cool_down:?}");
        origin.set_reply(|_| RawReply::ok(r#"{"access_token":"t","expires_in":3600}"#));
        for _ in 0..117 {
            clock.advance(Duration::from_secs(1));
            let error = manager.get_token().await.expect_err("too early");
            assert_eq!(error.status(), Some(StatusCode::TOO_MANY_REQUESTS));
        }
        assert_eq!(origin.requests().len(), 1, "called before the time");
        clock.advance(manager.status().cool_down.expect("a cool-down"));
        manager.get_token().await.expect("a token");
        assert_eq!(origin.requests().len(), 2);
        // The date in the next round's answer is the date of this moment.
        clock.step_wall(-120_000);
    }
}

/// RFC 9110 5.6.7
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

#[tokio::test]
async fn inv08_without_a_token_retry_after_is_capped_at_five_minutes() {
    let origin = Origin::start(|_| RawReply::status(503).with_header("retry-after", "99999999999"))
        .await
        .expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = at_origin(&origin, &clock);
    manager.get_token().await.expect_err("it is down");
    assert_eq!(manager.status().cool_down, Some(Duration::from_secs(300)));
}

#[tokio::test]
async fn inv08_retry_after_zero_is_no_leave_to_call_per_caller() {
    let origin =
        Origin::start(|_| RawReply::status(429).with_header("retry-after", "0")).await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = at_origin(&origin, &clock);
    for _ in 0..100 {
        manager.get_token().await.expect_err("too many");
    }
    assert!(origin.requests().len() <= 5, "{} token calls for 100 callers", origin.requests().len());
}

#[tokio::test]
async fn inv08_tokens_that_end_on_the_way_are_no_call_per_caller() {
    let origin = Origin::start(|_| RawReply::ok(r#"{"access_token":"t","expires_in":0.001}"#))
        .await
        .expect("a server");
    let manager = at_origin(&origin, &Arc::new(ManualClock::new()));
    for _ in 0..100 {
        let _ = manager.get_token().await;
    }
    assert!(origin.requests().len() <= 5, "{} token calls for 100 callers", origin.requests().len());
}
