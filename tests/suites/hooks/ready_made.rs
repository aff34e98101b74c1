//! The correlation id, and rate limits.

use std::collections::HashSet;
use std::time::Duration;

use forge_tests::RawReply;
use requestforge::hooks::{FailedCall, RateLimit};
use requestforge::{CorrelationId, RateLimitReader};

use crate::world::{Diary, client, origin, sent};

const HEADER: &str = "x-correlation-id";

#[tokio::test]
async fn a_correlation_id_is_the_same_over_retries_and_redirects_and_another_for_each_call() {
    let elsewhere = origin([RawReply::status(503)]).await;
    let server = origin([]).await;
    let client = client(&server).with_request_hook(CorrelationId::new()).build().expect("a client");
    let mut ids = HashSet::new();
    for _ in 0..20 {
        let mut replies =
            [RawReply::status(503), RawReply::redirect(307, format!("{}/x", elsewhere.url()))].into_iter();
        let replies = std::sync::Mutex::new(move || replies.next().unwrap_or(RawReply::ok("")));
        server.set_reply(move |_| crate::world::lock(&replies)());
        let response = client.get("/x").send().await.expect("an answer");

        let mut seen = [sent(&server, HEADER), sent(&elsewhere, HEADER)].concat();
        assert!(seen.len() >= 3, "{seen:?}");
        assert_eq!(seen.len(), usize::try_from(response.attempts()).expect("a number"));
        seen.dedup();
        let id = CorrelationId::of(response.extensions()).map(str::to_owned);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(id.is_some() && seen[0] == id);
        assert!(ids.insert(id), "another one for each call");
        server.clear();
        elsewhere.clear();
    }
}

#[tokio::test]
async fn a_given_correlation_id_is_kept() {
    let server = origin([RawReply::status(503)]).await;
    let hook = CorrelationId::in_header("X-Request-ID").expect("a name").generate_with(|| "ours".into());
    let client = client(&server).with_request_hook(hook).build().expect("a client");
    let response = client.get("/x").header("X-Request-ID", "theirs").send().await.expect("an answer");
    assert_eq!(CorrelationId::of(response.extensions()), Some("theirs"));
    client.get("/x").send().await.expect("an answer");
    let expected = ["theirs", "theirs", "ours"].map(|id| Some(id.to_owned()));
    assert_eq!(sent(&server, "x-request-id"), expected);
    assert_eq!(sent(&server, HEADER), [None, None, None]);
}

#[tokio::test]
async fn an_error_hook_knows_the_correlation_id() {
    let server = origin([]).await;
    let url = server.url();
    let diary = Diary::default();
    let seen = diary.clone();
    let client = client(&server)
        .with_request_hook(CorrelationId::new().generate_with(|| "c0ffee".into()))
        .with_error_hook(move |failed: &FailedCall<'_>| {
            seen.note(CorrelationId::of(failed.extensions()).unwrap_or("none"));
        })
        .build()
        .expect("a client");
    let _port = server.stop().await.expect("stopped");
    client.get(format!("{url}/x")).send().await.expect_err("nobody there");
    assert_eq!(diary.take(), ["c0ffee"]);
}

#[tokio::test]
async fn rate_limits_are_read_into_the_response() {
    let told = |remaining: u32| {
        RawReply::status(200)
            .with_header("RateLimit-Policy", "\"default\";q=100;w=60")
            .with_header("RateLimit", format!("\"default\";r={remaining};t=30"))
    };
    let server = origin([
        RawReply::redirect(302, "/next").with_header("X-RateLimit-Remaining", "0"),
        RawReply::status(200),
        told(41),
        RawReply::status(429).with_header("Retry-After", "7"),
    ])
    .await;
    let client = client(&server)
        .with_retry_strategy(requestforge::NoRetryStrategy)
        .with_response_hook(RateLimitReader)
        .build()
        .expect("a client");
    let read = async || {
        let response = client.get("/x").send().await.expect("an answer");
        response.extensions().get::<RateLimit>().copied()
    };
    assert_eq!(read().await, None, "that of the redirect is not the answer's");
    let limit = read().await.expect("a limit");
    assert_eq!((limit.limit(), limit.remaining()), (Some(100), Some(41)));
    assert_eq!(limit.reset_after(), Some(Duration::from_secs(30)));
    assert_eq!(read().await.expect("a limit").retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn the_rate_limit_is_that_of_the_answer_that_the_caller_has() {
    let told = |status, remaining: u32| {
        RawReply::status(status).with_header("X-RateLimit-Remaining", remaining.to_string())
    };
    let too_many = || told(429, 0).with_header("Retry-After", "0");
    for (replies, attempts, expected) in [
        (vec![too_many(), told(200, 41)], 2, Some((Some(41), None))),
        (vec![too_many(), RawReply::status(200)], 2, None),
        (vec![told(503, 7), too_many(), told(429, 1), too_many()], 4, Some((Some(0), Some(Duration::ZERO)))),
    ] {
        let server = origin(replies).await;
        let client = client(&server).with_response_hook(RateLimitReader).build().expect("a client");
        let response = client.get("/x").send().await.expect("an answer");
        let limit = response.extensions().get::<RateLimit>();
        let told = limit.map(|limit| (limit.remaining(), limit.retry_after()));
        assert_eq!((response.attempts(), told), (attempts, expected));
    }
}

#[tokio::test]
async fn without_the_hook_nothing_is_read() {
    let server = origin([RawReply::status(200).with_header("X-RateLimit-Remaining", "3")]).await;
    let response = client(&server).build().expect("a client").get("/x").send().await.expect("an answer");
    assert!(response.extensions().get::<RateLimit>().is_none());
    assert_eq!(CorrelationId::of(response.extensions()), None);
    assert_eq!(sent(&server, HEADER), [None]);
}
