//! A circuit opens between an attempt and the next one. The caller then gets the result of the earlier
//! attempt.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::breaker::CircuitState;
use requestforge::client::HttpClientBuilder;
use requestforge::testing::ManualClock;
use requestforge::token::Clock;
use requestforge::{
    CircuitBreaker, HttpClient, SimpleAuthRetryStrategy, SimpleRetryStrategy, TokenAuth, TokenData,
    TokenSource, token_source_fn,
};

use super::server::LIMIT;

/// A breaker that one failure opens. Its clock does not move.
fn breaker(open_for: Duration) -> CircuitBreaker {
    let breaker = CircuitBreaker::builder().failure_threshold(1).open_for(open_for);
    breaker.clock(Arc::new(ManualClock::new()) as Arc<dyn Clock>).build().expect("a breaker")
}

/// So short that the client expects its end before a retry. By the clock of the breaker it never ends.
const MOMENT: Duration = Duration::from_millis(1);
const EVER: Duration = Duration::from_secs(3_600);

fn build(builder: HttpClientBuilder, breaker: &CircuitBreaker) -> HttpClient {
    builder.with_circuit_breaker(breaker.clone()).build().expect("a client")
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("an end")
}

/// Answers the first request with this reply, and fails from then on.
async fn failing_after(first: RawReply) -> Origin {
    let requests = AtomicUsize::new(0);
    let reply = move |_: &_| match requests.fetch_add(1, Ordering::SeqCst) {
        0 => first.clone(),
        _ => RawReply::status(500),
    };
    Origin::start(reply).await.expect("a server")
}

/// Has another token each time. Before it returns the second one, other callers open the circuit.
fn slow_tokens(others: Arc<OnceLock<HttpClient>>) -> impl TokenSource + 'static {
    let asked = Arc::new(AtomicUsize::new(0));
    token_source_fn(move || {
        let (asked, others) = (asked.fetch_add(1, Ordering::SeqCst), Arc::clone(&others));
        async move {
            if asked == 1 {
                let other = others.get().expect("set before").get("/").no_auth();
                assert_eq!(other.send().await.expect("an answer").status_code(), 500);
            }
            Ok(TokenData::new(asked.to_string()))
        }
    })
}

fn slowly(retries: u32) -> SimpleRetryStrategy {
    SimpleRetryStrategy::new().max_retries(retries).delay(MOMENT * 2)
}

#[tokio::test]
async fn inv22_a_retry_that_is_refused_leaves_the_answer_that_came() {
    let timeout = Duration::from_secs(2);
    // With the second delay the body comes long after the attempt's time is over.
    for delay in [MOMENT * 2, timeout + MOMENT * 50] {
        let body = "down".repeat(10_000);
        let origin = failing_after(RawReply::status(503).with_body(body.clone())).await;
        let builder = HttpClient::builder(origin.url()).with_retry_strategy(slowly(3).delay(delay));
        let client = build(builder.with_timeout(timeout), &breaker(MOMENT));
        let response = client.get("/").send().await.expect("an answer");
        assert_eq!((response.status_code().as_u16(), response.attempts()), (503, 1));
        assert!(response.text().await.expect("a body") == body);
        assert_eq!(origin.requests().len(), 1);
    }
}

#[tokio::test]
async fn inv22_a_retry_that_is_refused_leaves_the_error_that_came() {
    let origin = failing_after(RawReply::hang_up()).await;
    let builder = HttpClient::builder(origin.url()).with_retry_strategy(slowly(3));
    let error = build(builder, &breaker(MOMENT)).get("/").send().await.expect_err("cut");
    assert!(!error.is_circuit_open() && !error.is_max_retries(), "nothing was retried: {error:?}");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn inv22_a_retry_that_is_refused_when_its_token_has_come_leaves_the_answer_that_came() {
    // This answer is not a failure by itself.
    let origin = failing_after(RawReply::status(429).with_body("slowly")).await;
    let (breaker, others) = (breaker(EVER), Arc::default());
    let builder = HttpClient::builder(origin.url()).with_token_auth(slow_tokens(Arc::clone(&others)));
    let client = build(builder.with_retry_strategy(slowly(3)), &breaker);
    others.set(client.clone()).expect("set once");
    let response = client.get("/").send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (429, 1));
    assert_eq!(response.text().await.expect("a body"), "slowly");
    assert_eq!(origin.requests().len(), 2, "this one, and the other one");
}

#[tokio::test]
async fn inv22_a_replay_that_is_refused_leaves_the_401() {
    // The breaker refuses at once, or after the wait: in the first case the caller must not wait for an
    // hour.
    for (open_for, delay) in [(EVER * 2, EVER), (MOMENT, MOMENT * 2)] {
        let origin = failing_after(RawReply::status(401).with_body("who?")).await;
        let (breaker, others) = (breaker(open_for), Arc::default());
        let auth = TokenAuth::new(slow_tokens(Arc::clone(&others)))
            .auth_retry_strategy(SimpleAuthRetryStrategy::new().delay(delay));
        let client = build(HttpClient::builder(origin.url()).with_token_auth(auth), &breaker);
        others.set(client.clone()).expect("set once");
        let response = in_time(client.post("/").body("order").send()).await.expect("an answer");
        assert_eq!((response.status_code().as_u16(), response.attempts()), (401, 1));
        assert_eq!(response.text().await.expect("a body"), "who?");
        assert_eq!(breaker.state(&origin.url()).expect("a URL"), CircuitState::Open);
    }
}

#[tokio::test]
async fn inv22_a_refusal_tells_whether_anything_was_sent() {
    let failing = failing_after(RawReply::status(500)).await;
    let target = failing.url();
    let requests = AtomicUsize::new(0);
    let reply = move |_: &_| match requests.fetch_add(1, Ordering::SeqCst) {
        // The client does not return to an attempt that is over.
        0 => RawReply::status(429),
        _ => RawReply::redirect(302, target.clone()),
    };
    let redirecting = Origin::start(reply).await.expect("a server");
    let builder = HttpClient::builder(failing.url()).with_retry_strategy(slowly(1));
    let client = build(builder, &breaker(EVER));
    client.get("/").send().await.expect("an answer");
    for (url, said) in
        [(failing.url(), ": request not sent: "), (redirecting.url(), ": no further request sent: ")]
    {
        let error = client.get(url).send().await.expect_err("refused");
        assert!(error.is_circuit_open() && error.to_string().contains(said), "{error}");
    }
}
