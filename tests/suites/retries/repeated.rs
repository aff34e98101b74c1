//! Which requests a client sends again, and which it does not.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use forge_tests::RawReply;
use requestforge::reqwest::multipart::{Form, Part};
use requestforge::retry::{RetryOutcome, RetryStrategy};
use requestforge::{ConfigError, HttpClient, HttpClientError, NoRetryStrategy, reqwest::Body};

use super::world::{LeaseRead, always, build, client, in_time, in_turn, quickly, retrying};

const ATTEMPTS: usize = 4;

/// Time for a server to count a request, also on a busy machine.
const ATTEMPT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn inv21_only_idempotent_methods_are_sent_again() {
    for (method, sends) in [
        ("GET", ATTEMPTS),
        ("HEAD", ATTEMPTS),
        ("OPTIONS", ATTEMPTS),
        ("PUT", ATTEMPTS),
        ("DELETE", ATTEMPTS),
        ("POST", 1),
        ("PATCH", 1),
        ("PURGE", 1),
    ] {
        let origin = always(RawReply::status(503).with_body("down")).await;
        let response =
            client(&origin).request(method.parse().expect("a method"), "/").send().await.expect("an answer");
        assert_eq!(response.status_code(), 503, "{method}");
        assert_eq!(origin.requests().len(), sends, "{method}");
        assert_eq!(response.attempts() as usize, sends, "{method}");
        let body = if method == "HEAD" { "" } else { "down" };
        assert_eq!(response.text().await.expect("a body"), body, "the last answer is whole");
    }
}

#[tokio::test]
async fn inv21_a_post_whose_connection_was_cut_is_sent_once() {
    let origin = always(RawReply::hang_up()).await;
    let error = client(&origin).post("/").body("order").send().await.expect_err("no answer");
    assert_eq!(origin.requests().len(), 1);
    assert!(!error.is_max_retries(), "{error:?}");

    origin.clear();
    let error = client(&origin).get("/").send().await.expect_err("no answer");
    assert_eq!(origin.requests().len(), ATTEMPTS);
    assert!(error.is_max_retries() && !error.is_timeout() && !error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn inv21_a_post_over_a_connection_that_was_kept_is_sent_once_too() {
    let origin = in_turn([RawReply::ok("kept"), RawReply::hang_up()]).await;
    let client = client(&origin);
    client.get("/").send().await.expect("an answer").bytes().await.expect("a body");
    client.post("/").body("order").send().await.expect_err("no answer");
    assert_eq!(origin.requests().iter().filter(|request| request.method() == "POST").count(), 1);
}

#[tokio::test]
async fn inv21_a_post_that_nobody_answered_in_time_is_sent_once() {
    let origin = always(RawReply::silence()).await;
    let client = build(retrying(&origin).with_timeout(ATTEMPT));
    let error = client.post("/").body("order").send().await.expect_err("no answer");
    assert!(error.is_timeout() && !error.is_max_retries(), "{error:?}");
    assert_eq!(origin.requests().len(), 1);

    origin.clear();
    let error = client.get("/").send().await.expect_err("no answer");
    assert!(error.is_timeout() && error.is_max_retries(), "{error:?}");
    assert_eq!(origin.requests().len(), ATTEMPTS);
}

#[tokio::test]
async fn inv21_with_an_idempotency_key_a_post_is_repeated_with_the_same_key() {
    for failure in [RawReply::status(503), RawReply::hang_up(), RawReply::silence()] {
        for by_header in [false, true] {
            let origin = in_turn([failure.clone(), failure.clone()]).await;
            let client = build(retrying(&origin).with_timeout(ATTEMPT));
            let request = client.post("/orders").json(&["book"]);
            let request = if by_header {
                request.header("Idempotency-Key", "order-7")
            } else {
                request.idempotency_key("order-7")
            };
            let response = request.send().await.expect("an answer");
            assert_eq!((response.status_code().as_u16(), response.attempts()), (200, 3));
            let requests = origin.requests();
            assert_eq!(requests.len(), 3, "{failure:?}");
            for request in requests {
                assert_eq!(request.header("idempotency-key").as_deref(), Some("order-7"));
                assert_eq!(request.body(), br#"["book"]"#);
            }
        }
    }
}

#[tokio::test]
async fn inv21_a_blank_idempotency_key_is_none() {
    let origin = always(RawReply::status(503)).await;
    let client = client(&origin);
    for key in ["", " ", "\t"] {
        let error = client.post("/").idempotency_key(key).send().await.expect_err("refused");
        assert_eq!(error.config_error().map(ConfigError::field), Some("idempotency_key"));
        assert!(origin.requests().is_empty());
        client.post("/").header("Idempotency-Key", key).send().await.expect("an answer");
        assert_eq!(origin.requests().len(), 1, "{key:?}");
        origin.clear();
    }
}

#[tokio::test]
async fn inv21_any_method_is_repeated_if_the_request_says_so() {
    let origin = in_turn([RawReply::status(500), RawReply::hang_up()]).await;
    let response = client(&origin).patch("/").body("x").retry_any_method().send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), origin.requests().len()), (200, 3));
}

#[tokio::test]
async fn inv21_a_stream_is_sent_once() {
    let origin = always(RawReply::status(503)).await;
    let client = client(&origin);
    let stream = || Body::wrap(http_body_util::Full::new(Bytes::from_static(b"streamed")));
    for request in [
        client.put("/").body_stream(stream()),
        client.post("/").body_stream(stream()).idempotency_key("k"),
        client.post("/").body_stream(stream()).retry_any_method(),
    ] {
        origin.clear();
        assert_eq!(request.send().await.expect("an answer").status_code(), 503);
        assert_eq!(origin.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_form_of_bytes_is_sent_again_and_one_with_a_stream_is_not() {
    let origin = in_turn([RawReply::status(503)]).await;
    let form = Form::new().text("title", "Q3").part("file", Part::bytes(b"data".to_vec()).file_name("q3"));
    let response = client(&origin).put("/").multipart(form).send().await.expect("an answer");
    assert_eq!(response.attempts(), 2);
    let [first, second] = &origin.requests()[..] else { panic!("two requests: {origin:?}") };
    assert_eq!(first.body(), second.body());
    assert_eq!(first.header("content-type"), second.header("content-type"));
    for part in ["name=\"title\"\r\n\r\nQ3\r\n", "filename=\"q3\"\r\n\r\ndata\r\n"] {
        assert!(first.contains(part), "{part:?}");
    }

    // A part that is not ready yet.
    let (mut sender, receiver) = filled_later();
    let origin = in_turn([RawReply::status(503)]).await;
    let form = Form::new().text("title", "Q3").part("file", Part::stream(receiver));
    let sending = tokio::spawn(client(&origin).put("/").multipart(form).send());
    sender.send(Bytes::from_static(b"late data")).await;
    drop(sender);
    let response = sending.await.expect("no panic").expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (503, 1));
    let request = &origin.requests()[0];
    // In chunks. The cuts may be at any place.
    for piece in ["name=\"title\"", "Q3", "name=\"file\"", "late data"] {
        assert!(request.contains(piece), "{piece:?}");
    }
}

/// A body that another task fills.
fn filled_later() -> (Filling, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece)), receiver))
    });
    (Filling(sender), Body::wrap(http_body_util::StreamBody::new(Box::pin(pieces))))
}

struct Filling(tokio::sync::mpsc::Sender<Bytes>);

impl Filling {
    async fn send(&mut self, piece: Bytes) {
        self.0.send(piece).await.expect("somebody who reads");
    }
}

#[tokio::test]
async fn only_what_may_be_better_in_a_moment_is_sent_again() {
    for status in [200, 204, 301, 304, 400, 403, 404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 505] {
        let origin = always(RawReply::status(status)).await;
        let response = client(&origin).get("/").send().await.expect("an answer");
        assert_eq!(response.status_code(), status);
        let is_transient = [408, 429, 500, 502, 503, 504].contains(&status);
        assert_eq!(origin.requests().len(), if is_transient { ATTEMPTS } else { 1 }, "{status}");
    }
}

#[tokio::test]
async fn nothing_is_sent_again_unless_it_is_asked_for() {
    let clients: [fn(&str) -> HttpClient; 3] = [
        |url| build(HttpClient::builder(url)),
        |url| build(HttpClient::builder(url).with_retry_strategy(NoRetryStrategy)),
        |url| build(HttpClient::builder(url).with_retry(0)),
    ];
    for client in clients {
        let origin = always(RawReply::status(503)).await;
        assert_eq!(client(&origin.url()).get("/").send().await.expect("an answer").attempts(), 1);
        assert_eq!(origin.requests().len(), 1);
        let origin = always(RawReply::hang_up()).await;
        let error = client(&origin.url()).get("/").send().await.expect_err("no answer");
        assert!(!error.is_max_retries());
        assert_eq!(origin.requests().len(), 1);
    }
}

/// A strategy that reports the questions it got.
#[derive(Clone)]
struct Telling {
    asked: LeaseRead<(u32, Option<u16>, bool)>,
    retries: u32,
}

impl std::fmt::Debug for Telling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telling")
    }
}

impl RetryStrategy for Telling {
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        let status = outcome.status_code().map(|status| status.as_u16());
        let is_connect = matches!(outcome, RetryOutcome::Error(error) if error.is_connect());
        self.asked.push((retry, status, is_connect));
        (retry <= self.retries).then_some(Duration::from_millis(1))
    }
}

#[tokio::test]
async fn a_strategy_is_asked_after_each_attempt_that_it_may_repeat() {
    let strategy = Telling { asked: LeaseRead::default(), retries: 9 };
    let origin = in_turn([RawReply::status(404), RawReply::hang_up(), RawReply::status(503)]).await;
    let client = build(retrying(&origin).with_retry_strategy(strategy.clone()));
    client.post("/").send().await.expect("an answer");
    assert_eq!(strategy.asked.all(), [], "a POST is not its affair");

    let strategy = Telling { asked: LeaseRead::default(), retries: 2 };
    let client = build(retrying(&origin).with_retry_strategy(strategy.clone()));
    assert!(client.get("/").send().await.expect("an answer").is_success());
    assert_eq!(
        strategy.asked.all(),
        [(1, None, false), (2, Some(503), false), (3, Some(200), false)],
        "and it may look at what went well"
    );

    let url = origin.url();
    let _port = origin.stop().await.expect("stopped");
    let strategy = Telling { asked: LeaseRead::default(), retries: 1 };
    let client = build(HttpClient::builder(url).with_retry_strategy(strategy.clone()));
    let error = in_time(client.get("/").send()).await.expect_err("no connection");
    assert!(error.is_connect() && error.is_max_retries(), "{error:?}");
    assert_eq!(strategy.asked.all(), [(1, None, true), (2, None, true)]);
}

#[tokio::test]
async fn after_the_last_retry_the_error_says_so_and_what_was_last() {
    let origin = always(RawReply::hang_up()).await;
    let error = client(&origin).get("/users?token=canary").send().await.expect_err("no answer");
    assert_eq!(error.to_string(), format!("GET {}/users: no response after 3 retries", origin.url()));
    let last = error.source().expect("the last error");
    assert!(last.downcast_ref::<HttpClientError>().is_some());
    assert_eq!(last.to_string(), "the exchange failed");
    assert!(last.source().is_some());
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn an_error_of_our_own_making_is_not_retried() {
    let strategy = Telling { asked: LeaseRead::default(), retries: 9 };
    let origin = always(RawReply::ok("")).await;
    let client = build(retrying(&origin).with_retry_strategy(strategy.clone()));
    assert!(client.get("ftp://x").send().await.expect_err("no http").is_builder());
    assert!(client.get("/").header("a b", "c").send().await.expect_err("no header").is_builder());
    assert_eq!(strategy.asked.all(), []);
    let origin = always(RawReply::redirect(302, "ftp://x")).await;
    let client = build(retrying(&origin));
    assert!(client.get("/").send().await.expect_err("refused").is_redirect());
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_retry_after_a_redirect_goes_where_the_redirect_led() {
    let elsewhere = in_turn([RawReply::status(503), RawReply::hang_up()]).await;
    let origin = always(RawReply::redirect(302, format!("{}/target", elsewhere.url()))).await;
    let client = build(retrying(&origin).with_bearer_token("canary"));
    let response = client.get("/").send().await.expect("an answer");
    assert_eq!(response.url().as_str(), format!("{}/target", elsewhere.url()));
    assert_eq!((origin.requests().len(), elsewhere.requests().len(), response.attempts()), (1, 3, 4));
    assert!(!elsewhere.requests().iter().any(|request| request.contains("canary")), "inv13");
    // The client counts the retries of a call over all its hops.
    let elsewhere = always(RawReply::status(503)).await;
    let target = elsewhere.url();
    let origin = in_turn([RawReply::status(503), RawReply::redirect(302, target)]).await;
    let client = build(retrying(&origin).with_retry_strategy(quickly().max_retries(2)));
    assert_eq!(client.get("/").send().await.expect("an answer").status_code(), 503);
    assert_eq!((origin.requests().len(), elsewhere.requests().len()), (2, 2));
}
