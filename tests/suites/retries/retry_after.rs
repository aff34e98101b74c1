//! The longest time for which a server can make a client wait. No test here reads a clock: the client does
//! not begin a wait that is longer than the total time-out.

use std::time::{Duration, SystemTime};

use forge_tests::RawReply;

use super::world::{build, in_time, in_turn, quickly, retrying};

const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FAR: &str = "Fri, 31 Dec 9999 23:59:59 GMT";

/// Whether a client with a total time-out of a minute sends a request again at once after this answer.
async fn is_retried_at_once(retry_after: &str, bound: Option<Duration>) -> bool {
    let origin = in_turn([RawReply::status(503).with_header("Retry-After", retry_after)]).await;
    let mut builder = retrying(&origin).with_total_timeout(Duration::from_secs(60));
    if let Some(bound) = bound {
        builder = builder.with_max_retry_after(bound);
    }
    let response = in_time(build(builder).get("/").send()).await.expect("an answer");
    assert_eq!(response.is_success(), response.attempts() == 2, "{retry_after}");
    response.is_success()
}

#[tokio::test]
async fn inv21_retry_after_is_waited_for() {
    for value in ["60", "1000000000", "99999999999999999999", FAR] {
        assert!(!is_retried_at_once(value, None).await, "{value}");
    }
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3_600));
    assert!(!is_retried_at_once(&in_an_hour, None).await);
}

#[tokio::test]
async fn inv21_what_asks_for_nothing_is_ignored() {
    for value in ["0", PAST, "", "soon", "-1", "1e9", "1.5", "60 s", "0x3c"] {
        assert!(is_retried_at_once(value, None).await, "{value}");
    }
}

#[tokio::test]
async fn inv21_what_asks_for_too_much_is_capped() {
    for value in ["60", "1000000000", "99999999999999999999", FAR] {
        assert!(is_retried_at_once(value, Some(Duration::from_millis(5))).await, "{value}");
    }
}

#[tokio::test]
async fn the_longer_of_the_strategys_delay_and_the_servers_counts() {
    let hour = Duration::from_secs(3_600);
    let origin = in_turn([RawReply::status(503).with_header("Retry-After", "0")]).await;
    let builder = retrying(&origin).with_retry_strategy(quickly().delay(hour));
    let client = build(builder.with_total_timeout(Duration::from_secs(60)));
    let response = in_time(client.get("/").send()).await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), origin.requests().len()), (503, 1));
}

#[tokio::test]
async fn retry_after_makes_no_retry_that_the_strategy_does_not_want() {
    let origin = in_turn([RawReply::status(404).with_header("Retry-After", "0")]).await;
    let response = build(retrying(&origin)).get("/").send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), origin.requests().len()), (404, 1));
}

#[tokio::test]
async fn retry_after_counts_with_every_status_that_is_retried() {
    for status in [408, 429, 500, 502, 504] {
        let origin = in_turn([RawReply::status(status).with_header("Retry-After", "3600")]).await;
        let client = build(retrying(&origin).with_total_timeout(Duration::from_secs(30)));
        assert_eq!(in_time(client.get("/").send()).await.expect("an answer").status_code(), status);
        assert_eq!(origin.requests().len(), 1, "{status}");
    }
}
