//! After a strategy has read a response, the caller still gets the whole response.

use std::time::Duration;

use forge_tests::RawReply;
use http::{HeaderMap, StatusCode};
use requestforge::retry::{RetryOutcome, RetryStrategy};
use tokio::task::JoinSet;

use super::world::{LeaseRead, always, build, in_time, in_turn, retrying};

/// Retries while the body says that it is busy.
#[derive(Clone, Default)]
struct WhileBusy(LeaseRead<Option<bool>>);

impl std::fmt::Debug for WhileBusy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WhileBusy")
    }
}

impl RetryStrategy for WhileBusy {
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        let RetryOutcome::Response(response) = outcome else { return None };
        let is_busy = response.json_or_none::<serde_json::Value>().map(|body| body["error"] == "busy");
        self.0.push(is_busy);
        (retry <= 2 && is_busy == Some(true)).then_some(Duration::from_millis(1))
    }

    fn reads_body(&self, _status: StatusCode, _headers: &HeaderMap) -> bool {
        true
    }
}

#[tokio::test]
async fn a_strategy_may_decide_by_the_body() {
    let busy = RawReply::status(409).with_body(r#"{"error":"busy"}"#);
    let origin = in_turn([busy.clone(), busy.clone(), RawReply::ok(r#"{"error":null}"#)]).await;
    let strategy = WhileBusy::default();
    let client = build(retrying(&origin).with_retry_strategy(strategy.clone()));
    let response = client.get("/").send().await.expect("an answer");
    assert_eq!(strategy.0.all(), [Some(true), Some(true), Some(false)]);
    assert_eq!(response.text().await.expect("a body"), r#"{"error":null}"#);

    let origin = always(busy).await;
    let client = build(retrying(&origin).with_retry_strategy(strategy));
    let response = client.get("/").send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (409, 3));
    assert_eq!(response.text().await.expect("a body"), r#"{"error":"busy"}"#, "it was read before");
}

#[tokio::test]
async fn what_was_examined_is_whole_whatever_its_size() {
    for size in [0, 1, 65_536, 65_537, 300_000, 3_000_000] {
        let body: String = ('a'..='z').cycle().take(size).collect();
        let reply = RawReply::status(503).with_body(body.clone());
        let origin = always(reply).await;
        let strategy = WhileBusy::default();
        let client = build(retrying(&origin).with_retry_strategy(strategy.clone()));
        let response = client.get("/").send().await.expect("an answer");
        assert_eq!(response.headers()["content-length"], size.to_string().as_str());
        assert!(response.text().await.expect("a body") == body, "{size} bytes");
        assert_eq!((strategy.0.all(), origin.requests().len()), (vec![None], 1));
    }
}

#[tokio::test]
async fn a_body_that_was_cut_is_told_to_who_reads_it() {
    let cut = RawReply::status(503)
        .with_header("content-length", "100")
        .with_header("connection", "close")
        .with_body(r#"{"error":"busy"}"#);
    for examined in [false, true] {
        let origin = always(cut.clone()).await;
        let mut builder = retrying(&origin);
        if examined {
            builder = builder.with_retry_strategy(WhileBusy::default());
        }
        let client = build(builder);
        let mut response = client.get("/").send().await.expect("an answer");
        assert_eq!(response.status_code(), 503);
        assert_eq!(origin.requests().len(), if examined { 1 } else { 4 }, "a part of a body is not judged");
        assert_eq!(response.chunk().await.expect("what came").as_deref(), Some(&br#"{"error":"busy"}"#[..]));
        let error = response.chunk().await.expect_err("the rest did not come");
        assert!(!error.is_timeout() && !error.is_max_retries(), "{error:?}");
        assert!(client.get("/").send().await.expect("an answer").text().await.is_err());
    }
}

/// The server sends six of 100 bytes, and then nothing.
fn stalling(status: u16) -> RawReply {
    RawReply::status(status).with_header("content-length", "100").with_body("a part")
}

#[tokio::test]
async fn a_body_that_stalls_while_it_is_examined_goes_to_the_caller_as_far_as_it_came() {
    let origin = always(stalling(503)).await;
    let strategy = WhileBusy::default();
    let client = build(retrying(&origin).with_retry_strategy(strategy.clone()));
    // The time-outs of the call and of the attempt end together, and chance decides which one comes first.
    let mut calls = JoinSet::new();
    for call in 0..50 {
        calls.spawn(client.get("/").total_timeout(Duration::from_micros(1_000_000 + call * 1_370)).send());
    }
    for response in in_time(calls.join_all()).await {
        let mut response = response.expect("an answer");
        assert_eq!((response.status_code().as_u16(), response.attempts()), (503, 1));
        assert_eq!(response.chunk().await.expect("what came").as_deref(), Some(&b"a part"[..]));
        assert!(in_time(response.chunk()).await.expect_err("the rest did not come").is_timeout());
    }
    assert_eq!(strategy.0.all(), [None; 50]);
}

/// A strategy that reads the bodies of errors only.
#[derive(Debug)]
struct OfErrors;

impl RetryStrategy for OfErrors {
    fn delay_before_retry(&self, _retry: u32, _outcome: &RetryOutcome<'_>) -> Option<Duration> {
        None
    }

    fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        status.is_server_error() && headers.contains_key("x-read")
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_not_held_up_for_a_strategy_that_does_not_read_it() {
    let origin = in_turn([stalling(200).with_header("x-read", "1"), stalling(503)]).await;
    let client = build(retrying(&origin).with_retry_strategy(OfErrors));
    for status in [200, 503] {
        let request = client.get("/").timeout(Duration::from_secs(3_600));
        let mut response = in_time(request.send()).await.expect("an answer");
        assert_eq!(response.status_code(), status);
        assert_eq!(response.chunk().await.expect("what came").as_deref(), Some(&b"a part"[..]));
    }
}
