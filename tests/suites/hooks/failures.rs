//! Hooks that fail, and hooks that see failures.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use forge_tests::RawReply;
use requestforge::breaker::CircuitState;
use requestforge::hooks::{IgnoringFailures, OutgoingRequest};
use requestforge::testing::ManualClock;
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, CircuitBreaker, HttpClient, TokenData, token_source_fn,
};
use tokio::task::JoinError;

use crate::world::{Diary, Noting, client, origin};

#[tokio::test]
async fn a_request_hook_that_fails_stops_the_call_before_anything_is_sent() {
    let server = origin([]).await;
    let diary = Diary::default();
    let client = client(&server)
        .with_request_hook(Noting::failing("first", &diary))
        .with_request_hook(Noting::new("second", &diary))
        .with_response_hook(Noting::new("after", &diary))
        .with_error_hook(Noting::new("error", &diary))
        .build()
        .expect("a client");
    let error = client.get("/x").send().await.expect_err("a hook that fails");
    assert!(error.is_hook() && !error.is_builder() && !error.is_max_retries(), "{error:?}");
    assert_eq!(error.to_string(), format!("GET {}/x: a hook stopped the call", server.url()));
    assert_eq!(error.source().map(ToString::to_string), Some("first says no".into()));
    assert_eq!(diary.take(), ["first: 1. GET /x", "error: /x failed after 0: hook"]);
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_response_hook_that_fails_stops_the_call_also_before_a_redirect() {
    let server = origin([RawReply::redirect(302, "/elsewhere")]).await;
    let diary = Diary::default();
    let client = client(&server)
        .with_response_hook(Noting::failing("first", &diary))
        .with_response_hook(Noting::new("second", &diary))
        .with_error_hook(Noting::new("error", &diary))
        .build()
        .expect("a client");
    let error = client.get("/x").send().await.expect_err("a hook that fails");
    assert!(error.is_hook(), "{error:?}");
    assert_eq!(diary.take(), ["first: 1. /x -> 302", "error: /x failed after 1: hook"]);
    assert_eq!(server.requests().len(), 1, "neither followed nor tried again");
}

#[tokio::test]
async fn failures_are_ignored_where_that_is_asked_for() {
    let server = origin([]).await;
    let diary = Diary::default();
    let client = client(&server)
        .with_request_hook(IgnoringFailures(Noting::failing("first", &diary)))
        .with_request_hook(Noting::new("second", &diary))
        .with_response_hook(IgnoringFailures(Noting::failing("third", &diary)))
        .with_response_hook(Noting::new("fourth", &diary))
        .with_error_hook(Noting::new("error", &diary))
        .build()
        .expect("a client");
    client.get("/x").send().await.expect("an answer");
    let seen = ["first: 1. GET /x", "second: 1. GET /x", "third: 1. /x -> 200", "fourth: 1. /x -> 200"];
    assert_eq!(diary.take(), seen);
}

#[tokio::test]
async fn an_error_hook_sees_each_call_that_ends_in_an_error_once() {
    let diary = Diary::default();
    let with_hooks = |builder: requestforge::client::HttpClientBuilder| {
        let builder = builder.with_error_hook(Noting::new("a", &diary));
        builder.with_error_hook(Noting::new("b", &diary)).build().expect("a client")
    };
    let server = origin([]).await;
    let gone = {
        let server = origin([]).await;
        server.url()
    };

    // No server listens there, and the client retries.
    let nobody = with_hooks(client(&server));
    nobody.get(format!("{gone}/x")).send().await.expect_err("nobody there");
    let line = "/x failed after 4: connect after retries";
    assert_eq!(diary.take(), [format!("a: {line}"), format!("b: {line}")]);

    // There is no token, so the client sends nothing.
    let none = token_source_fn(|| async {
        Err::<TokenData, _>(AuthenticationError::new("crm", AuthenticationErrorKind::Other))
    });
    let without_token = with_hooks(client(&server).with_token_auth(none));
    without_token.get("/x").send().await.expect_err("no token");
    assert_eq!(diary.take()[0], "a: /x failed after 0: authentication");

    // The client refuses this redirect.
    server.set_reply(|_| RawReply::redirect(302, "/again"));
    let circling = with_hooks(client(&server).with_max_redirects(2));
    circling.get("/x").send().await.expect_err("too many redirects");
    assert_eq!(diary.take(), ["a", "b"].map(|name| format!("{name}: /again failed after 3: redirect")));

    // An answer of any status is no error for a hook, even if the caller makes one of it.
    server.set_reply(|_| RawReply::status(500));
    let response = with_hooks(client(&server)).post("/x").send().await.expect("an answer");
    response.error_for_status().expect_err("a 500");
    assert_eq!(diary.take(), [""; 0]);

    // The time for the call is over: the server listens and does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/x", silent.local_addr().expect("an address"));
    let hasty = with_hooks(client(&server).with_total_timeout(Duration::from_secs(2)));
    hasty.get(url).send().await.expect_err("no time");
    assert_eq!(diary.take()[0], "a: /x failed after 1: timeout");
}

#[tokio::test]
async fn a_panic_in_a_hook_is_its_callers_and_no_other_calls() {
    let server = origin([]).await;
    let client = client(&server)
        .with_request_hook(|request: &mut OutgoingRequest<'_>| {
            assert_ne!(request.url().path(), "/panic", "a bug in a hook");
        })
        .build()
        .expect("a client");
    let panicking = tokio::spawn({
        let client = client.clone();
        async move { client.get("/panic").send().await.map(drop) }
    });
    assert!(panicking.await.expect_err("a panic").is_panic());
    client.get("/x").send().await.expect("an answer");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn inv22_a_hook_that_fails_or_panics_costs_the_breaker_no_place() {
    let server = origin([RawReply::status(503)]).await;
    let clock = Arc::new(ManualClock::new());
    let breaker = CircuitBreaker::builder().failure_threshold(1).half_open_probes(1).clock(clock.clone());
    let breaker = breaker.build().expect("a breaker");
    let client = client(&server)
        .with_retry_strategy(requestforge::NoRetryStrategy)
        .with_circuit_breaker(breaker.clone())
        .with_request_hook(|request: &mut OutgoingRequest<'_>| match request.url().path() {
            "/panic" => panic!("a bug in a hook"),
            "/fail" => Err("no"),
            _ => Ok(()),
        })
        .build()
        .expect("a client");
    let state = || breaker.state(&server.url()).expect("a URL");
    client.get("/x").send().await.expect("a 503");
    assert_eq!(state(), CircuitState::Open);
    clock.advance(Duration::from_secs(31));
    for path in ["/fail", "/panic", "/fail", "/panic"] {
        let request = client.get(path);
        let outcome = tokio::spawn(async move { request.send().await.map(drop) }).await;
        let is_hooks = outcome.as_ref().map_or_else(JoinError::is_panic, |sent| {
            sent.as_ref().is_err_and(requestforge::HttpClientError::is_hook)
        });
        assert!(is_hooks, "{path}: {outcome:?}");
        assert_eq!(state(), CircuitState::HalfOpen);
    }
    client.get("/x").send().await.expect("the one place is free");
    assert_eq!((state(), server.requests().len()), (CircuitState::Closed, 2));
}

#[tokio::test]
async fn what_was_never_a_call_is_shown_to_no_hook() {
    let diary = Diary::default();
    let client = HttpClient::builder("https://api.example.com")
        .with_error_hook(Noting::new("error", &diary))
        .build()
        .expect("a client");
    let error = client.get("/x").header("no name", "x").send().await.expect_err("no header");
    assert!(error.is_builder());
    assert_eq!(diary.take(), [""; 0]);
}
