//! A response that was looked into is whole for the caller.

use std::time::Duration;

use forge_tests::RawReply;
use requestforge::{RetryOutcome, RetryStrategy};

use super::world::{Seen, always, build, in_turn, retrying};

/// Retries while the body says that it is busy.
#[derive(Clone, Default)]
struct WhileBusy(Seen<Option<bool>>);

impl std::fmt::Debug for WhileBusy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WhileBusy")
    }
}

impl RetryStrategy for WhileBusy {
    fn retry_after(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        let RetryOutcome::Response(response) = outcome else { return None };
        let is_busy = response.json_or_none::<serde_json::Value>().map(|body| body["error"] == "busy");
        self.0.push(is_busy);
        (retry <= 2 && is_busy == Some(true)).then_some(Duration::from_millis(1))
    }

    fn reads_body(&self) -> bool {
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
