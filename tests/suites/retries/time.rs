//! The total time-out. No test measures the time: without the time-out, no test here would end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::auth::AuthRetryStrategy;
use requestforge::hooks::OutgoingRequest;
use requestforge::{
    CircuitBreaker, ConditionalAuthRetryStrategy, ConfigError, HttpClient, SimpleAuthRetryStrategy,
    TokenAuth, TokenData, reqwest, token_source_fn,
};

use super::world::{always, build, in_time, in_turn, quickly, retrying};

/// Longer than any test may take.
const EVER: Duration = Duration::from_secs(3_600);
/// Not long, and enough for a request on a machine under load.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_back_off_that_would_pass_the_total_time_out_is_not_begun() {
    let origin = always(RawReply::status(503).with_body("down")).await;
    let strategy = quickly().delay(EVER);
    let client = build(retrying(&origin).with_retry_strategy(strategy).with_total_timeout(SOON * 30));
    let response = in_time(client.get("/").send()).await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (503, 1));
    assert_eq!(response.text().await.expect("a body"), "down");

    let origin = always(RawReply::hang_up()).await;
    let client = build(retrying(&origin).with_retry_strategy(strategy).with_total_timeout(SOON * 30));
    let error = in_time(client.get("/").send()).await.expect_err("no answer");
    assert!(!error.is_timeout() && !error.is_max_retries(), "the error as it came: {error:?}");
}

#[tokio::test]
async fn the_total_time_out_bounds_attempts() {
    let origin = always(RawReply::silence()).await;
    let client = build(HttpClient::builder(origin.url()).with_timeout(EVER).with_total_timeout(SOON));
    let error = in_time(client.get("/").send()).await.expect_err("no answer");
    assert!(error.is_timeout() && !error.is_max_retries(), "{error:?}");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn the_total_time_out_bounds_retries() {
    let origin = always(RawReply::silence()).await;
    let builder = retrying(&origin).with_retry_strategy(quickly().max_retries(u32::MAX));
    let client = build(builder.with_timeout(SOON / 20).with_total_timeout(SOON));
    let error = in_time(client.get("/").send()).await.expect_err("no answer");
    assert!(error.is_timeout() && error.is_max_retries(), "{error:?}");
}

#[tokio::test]
async fn the_total_time_out_bounds_redirects() {
    let origin = always(RawReply::redirect(302, "/again")).await;
    let builder = HttpClient::builder(origin.url()).with_max_redirects(u32::MAX);
    let client = build(builder.with_timeout(EVER).with_total_timeout(SOON));
    let error = in_time(client.get("/").send()).await.expect_err("a loop");
    assert!(error.is_timeout(), "{error:?}");
    assert!(origin.requests().len() > 1);
}

#[tokio::test]
async fn a_request_may_have_a_total_time_out_of_its_own() {
    let origin = always(RawReply::silence()).await;
    let builder = HttpClient::builder(origin.url()).with_timeout(EVER);
    for client in [build(builder), build(HttpClient::builder(origin.url()).with_total_timeout(EVER))] {
        let request = client.get("/").total_timeout(SOON / 2);
        assert!(in_time(request.send()).await.expect_err("no answer").is_timeout());
    }
    // A time-out that no clock can express is no limit.
    origin.set_reply(|_| RawReply::ok(""));
    let client = build(HttpClient::builder(origin.url()));
    assert!(client.get("/").total_timeout(Duration::MAX).send().await.expect("an answer").is_success());
}

#[tokio::test]
async fn the_total_time_out_bounds_the_body() {
    let origin = always(RawReply::ok("a part").with_header("content-length", "100")).await;
    for by_request in [false, true] {
        let builder = HttpClient::builder(origin.url()).with_timeout(EVER);
        let request = if by_request {
            build(builder).get("/").total_timeout(SOON)
        } else {
            build(builder.with_total_timeout(SOON)).get("/")
        };
        let mut response = request.send().await.expect("an answer");
        assert_eq!(response.chunk().await.expect("what came").as_deref(), Some(&b"a part"[..]));
        assert!(in_time(response.text()).await.expect_err("the rest did not come").is_timeout());
    }
}

#[tokio::test]
async fn nothing_is_sent_once_the_time_is_up() {
    let origin = always(RawReply::ok("")).await;
    let hook = |_: &mut OutgoingRequest<'_>| std::thread::sleep(SOON);
    let breaker = CircuitBreaker::builder().failure_threshold(1).build().expect("a breaker");
    let builder = HttpClient::builder(origin.url()).with_circuit_breaker(breaker);
    let client = build(builder.with_request_hook(hook));
    let error = client.post("/").body("order").total_timeout(SOON / 20).send().await.expect_err("too late");
    assert!(error.is_timeout(), "{error:?}");
    // If the client had sent it, it would be before this request. The server has done nothing wrong.
    client.get("/after").send().await.expect("an answer");
    assert!(origin.requests().iter().all(|request| request.method() == "GET"), "{origin:?}");
}

#[tokio::test]
async fn no_time_at_all_is_refused() {
    let origin = always(RawReply::ok("")).await;
    let builder = || HttpClient::builder(origin.url());
    for (field, builder) in [
        ("timeout", builder().with_timeout(Duration::ZERO)),
        ("total_timeout", builder().with_total_timeout(Duration::ZERO)),
        ("connect_timeout", builder().with_connect_timeout(Duration::ZERO)),
    ] {
        let error = builder.build().expect_err("refused");
        assert_eq!(error.config_error().map(ConfigError::field), Some(field));
    }
    let client = build(builder());
    for (field, request) in [
        ("timeout", client.get("/").timeout(Duration::ZERO)),
        ("total_timeout", client.get("/").total_timeout(Duration::ZERO)),
    ] {
        let error = request.send().await.expect_err("refused");
        assert_eq!(error.config_error().map(ConfigError::field), Some(field));
    }
    assert!(origin.requests().is_empty());
}

/// A client whose token source has so many tokens, and then lets every caller wait.
fn with_tokens(api: &Origin, tokens: usize, strategy: impl AuthRetryStrategy + 'static) -> HttpClient {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = token_source_fn(move || {
        let asked = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            if asked >= tokens {
                std::future::pending::<()>().await;
            }
            Ok(TokenData::new(asked.to_string()))
        }
    });
    let auth = TokenAuth::new(source).auth_retry_strategy(strategy);
    build(HttpClient::builder(api.url()).with_token_auth(auth).with_total_timeout(SOON))
}

#[tokio::test]
async fn the_total_time_out_bounds_the_wait_for_a_token() {
    let api = always(RawReply::ok("")).await;
    let client = with_tokens(&api, 0, SimpleAuthRetryStrategy::new());
    let error = in_time(client.get("/").send()).await.expect_err("no token yet");
    assert!(error.is_timeout() && !error.is_authentication(), "{error:?}");
    assert!(api.requests().is_empty(), "inv15");
}

#[tokio::test]
async fn the_total_time_out_bounds_the_renewal_of_a_rejected_token() {
    let api = always(RawReply::status(401)).await;
    let client = with_tokens(&api, 1, SimpleAuthRetryStrategy::new());
    let error = in_time(client.get("/").send()).await.expect_err("no other token yet");
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn a_rejection_whose_body_stalls_is_judged_by_what_came_and_handed_on() {
    let stalling = RawReply::status(401).with_header("content-length", "100").with_body("a part");
    let api = always(stalling).await;
    for wants_more in [false, true] {
        let strategy = ConditionalAuthRetryStrategy::new(move |response| {
            assert_eq!(response.json_or_none::<serde_json::Value>(), None);
            wants_more
        });
        let client = with_tokens(&api, 1, strategy);
        let mut response = in_time(client.get("/").send()).await.expect("an answer");
        assert_eq!((response.status_code().as_u16(), response.attempts()), (401, 1));
        assert_eq!(response.chunk().await.expect("what came").as_deref(), Some(&b"a part"[..]));
        assert!(in_time(response.chunk()).await.expect_err("the rest did not come").is_timeout());
    }
}

#[tokio::test]
async fn a_stream_whose_401_brings_no_other_token_in_time_gets_the_401() {
    let api = always(RawReply::status(401).with_body("who?")).await;
    let client = with_tokens(&api, 1, SimpleAuthRetryStrategy::new());
    let stream = reqwest::Body::wrap(String::from("streamed"));
    let response = in_time(client.put("/").body_stream(stream).send()).await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), api.requests().len()), (401, 1));
}

#[tokio::test]
async fn a_replay_that_would_come_too_late_is_not_begun() {
    let api = always(RawReply::status(401).with_body("who?")).await;
    let client = with_tokens(&api, 2, SimpleAuthRetryStrategy::new().delay(EVER));
    let response = in_time(client.get("/").send()).await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (401, 1));
    assert_eq!(response.text().await.expect("a body"), "who?");
}

#[tokio::test]
async fn elapsed_counts_the_back_offs() {
    let origin = in_turn([RawReply::status(503)]).await;
    let delay = Duration::from_millis(50);
    let client = build(retrying(&origin).with_retry_strategy(quickly().delay(delay)));
    let response = client.get("/").send().await.expect("an answer");
    assert!(response.elapsed() >= delay, "{:?}", response.elapsed());
}
