//! Retries of calls that get no token for the moment: the token endpoint fails, and the API works.

use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::client::HttpClientBuilder;
use requestforge::{
    AuthenticationError, ClientCredentialsTokenProvider, HttpClient, HttpClientError, TokenManager, blocking,
};

use super::world::{always, build, in_time, in_turn, quickly};

/// A token endpoint that gives these answers one after the other, and then tokens.
async fn tokens(troubles: impl Into<Vec<RawReply>>) -> Origin {
    let troubles: Vec<RawReply> = troubles.into();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let reply = move |_: &_| {
        let next = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let token = || RawReply::ok(format!(r#"{{"access_token":"t{next}","expires_in":3600}}"#));
        troubles.get(next).cloned().unwrap_or_else(token)
    };
    Origin::start(reply).await.expect("a server")
}

/// Two answers, because the provider itself repeats its request once after this one.
fn twice(reply: RawReply) -> Vec<RawReply> {
    vec![reply.clone(), reply]
}

fn postponed(seconds: u32) -> RawReply {
    RawReply::status(429).with_header("Retry-After", seconds.to_string())
}

fn manager(tokens: &Origin) -> TokenManager {
    let url = format!("{}/token", tokens.url());
    TokenManager::new(
        ClientCredentialsTokenProvider::builder(url, "client", "secret").build().expect("a provider"),
    )
}

fn retrying(tokens: &Origin, api: &Origin) -> HttpClientBuilder {
    HttpClient::builder(api.url()).with_retry(5).with_token_auth(manager(tokens))
}

fn transient(error: &HttpClientError) -> &AuthenticationError {
    assert!(error.is_authentication(), "{error:?}");
    error.authentication_error().filter(|error| error.is_transient()).expect("a transient failure")
}

#[tokio::test]
async fn inv21_a_retry_waits_for_the_cool_down_and_asks_for_a_token_again() {
    for (name, troubles) in [
        ("503", twice(RawReply::status(503))),
        ("429", vec![postponed(1)]),
        ("429 without Retry-After", vec![RawReply::status(429)]),
        ("cut", twice(RawReply::hang_up())),
        ("again and again", [twice(RawReply::status(503)), vec![postponed(1)]].concat()),
    ] {
        let calls = troubles.len() + 1;
        let (tokens, api) = (tokens(troubles).await, always(RawReply::ok("well")).await);
        let client = build(retrying(&tokens, &api));
        let response = in_time(client.get("/").send()).await;
        let response = response.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(response.is_success(), "{name}");
        assert_eq!((tokens.requests().len(), api.requests().len()), (calls, 1), "{name}");
        assert_eq!(response.attempts(), 1, "{name}: the API gets one request");
    }
}

#[tokio::test]
async fn inv21_a_hundred_calls_wait_for_one_token() {
    let (tokens, api) = (tokens([postponed(1)]).await, always(RawReply::ok("well")).await);
    let client = build(retrying(&tokens, &api));
    // Each call takes one of the hundred retries of the budget.
    let calls = (0..100).map(|_| client.get("/").send());
    for response in in_time(futures_util::future::join_all(calls)).await {
        assert!(response.expect("an answer").is_success());
    }
    assert_eq!((tokens.requests().len(), api.requests().len()), (2, 100));
}

#[tokio::test]
async fn inv21_a_renewal_after_a_401_is_retried_too_and_the_rejected_token_is_not_sent_again() {
    // One cool-down is longer than the back-off after a renewal (1 s), the others are shorter.
    for trouble in [vec![postponed(1)], vec![RawReply::status(429)], twice(RawReply::hang_up())] {
        let api = in_turn([RawReply::status(401)]).await;
        let calls = trouble.len() + 2;
        let first = RawReply::ok(r#"{"access_token":"first"}"#);
        let tokens = tokens([vec![first], trouble].concat()).await;
        let client = build(retrying(&tokens, &api));
        let response = in_time(client.get("/").send()).await.expect("an answer");
        assert!(response.is_success(), "{}", response.status_code());
        let sent: Vec<_> = api.requests().iter().map(|request| request.header("authorization")).collect();
        assert_eq!(sent, [Some("Bearer first".to_owned()), Some(format!("Bearer t{}", calls - 1))]);
        assert_eq!(tokens.requests().len(), calls);
    }
}

#[tokio::test]
async fn inv21_the_call_fails_at_once_if_the_cool_down_is_longer_than_the_setting() {
    let longer = [
        (None, postponed(61)),
        (None, postponed(1_000_000)),
        (Some(Duration::from_millis(999)), postponed(1)),
        (Some(Duration::ZERO), RawReply::status(429)),
    ];
    for (setting, trouble) in longer {
        let (tokens, api) = (tokens([trouble]).await, always(RawReply::ok("well")).await);
        let client = retrying(&tokens, &api);
        let client = build(setting.into_iter().fold(client, HttpClientBuilder::with_max_cool_down));
        let error = in_time(client.get("/").send()).await.expect_err("no token");
        assert!(!error.is_max_retries() && transient(&error).cool_down().is_some(), "{error:?}");
        assert_eq!((tokens.requests().len(), api.requests().len()), (1, 0));
    }
}

#[tokio::test]
async fn inv21_the_call_fails_at_once_if_the_cool_down_ends_after_the_deadline() {
    let (tokens, api) = (tokens([postponed(50)]).await, always(RawReply::ok("well")).await);
    let client = build(retrying(&tokens, &api).with_total_timeout(Duration::from_secs(40)));
    let error = in_time(client.get("/").send()).await.expect_err("no token");
    assert!(!error.is_timeout() && !error.is_max_retries(), "the caller gets the token error: {error:?}");
    transient(&error);
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn inv21_the_strategy_and_the_budget_bound_the_retries_for_a_token() {
    let (tokens, api) = (always(RawReply::status(429)).await, always(RawReply::ok("well")).await);
    let client = build(retrying(&tokens, &api).with_retry(2));
    let error = in_time(client.get("/").send()).await.expect_err("no token");
    assert!(error.is_max_retries(), "{error:?}");
    transient(&error);
    assert!(error.to_string().contains("no token after 2 retries"), "{error}");
    assert_eq!((tokens.requests().len(), api.requests().len()), (3, 0));

    // Each call takes a retry from the budget. After a hundred retries the budget is empty.
    let client = build(retrying(&tokens, &api).with_retry_strategy(quickly().max_retries(1)));
    let calls = (0..150).map(|_| client.get("/").send());
    let errors = in_time(futures_util::future::join_all(calls)).await;
    let retried = errors.iter().filter(|error| error.as_ref().is_err_and(HttpClientError::is_max_retries));
    assert_eq!(retried.count(), 100);
}

#[tokio::test]
async fn inv21_a_call_asks_for_a_token_once_if_a_retry_is_not_allowed_or_cannot_help() {
    let api = always(RawReply::ok("well")).await;
    // The client has no retry strategy.
    let tokens_of_none = tokens([RawReply::status(429)]).await;
    let client = HttpClient::builder(api.url()).with_token_auth(manager(&tokens_of_none));
    transient(&in_time(build(client).get("/").send()).await.expect_err("no token"));
    // The client secret is wrong, so a retry would fail too.
    let refused = RawReply::status(401).with_body(r#"{"error":"invalid_client"}"#);
    let tokens_refused = tokens([refused]).await;
    let error = in_time(build(retrying(&tokens_refused, &api)).get("/").send()).await.expect_err("no token");
    assert!(error.authentication_error().is_some_and(AuthenticationError::is_permanent), "{error:?}");
    // A request that may not be repeated is not retried either, although nothing was sent.
    let tokens_of_post = tokens([RawReply::status(429)]).await;
    let client = build(retrying(&tokens_of_post, &api));
    transient(&in_time(client.post("/").body("order").send()).await.expect_err("no token"));
    for tokens in [tokens_of_none, tokens_refused, tokens_of_post] {
        assert_eq!(tokens.requests().len(), 1);
    }
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn a_retry_of_a_call_with_force_renewal_fetches_a_new_token() {
    let tokens = tokens([RawReply::ok(r#"{"access_token":"first"}"#), postponed(1)]).await;
    let api = always(RawReply::ok("well")).await;
    let client = build(retrying(&tokens, &api));
    client.get("/").send().await.expect("an answer");
    let response = in_time(client.get("/").force_renewal().send()).await.expect("an answer");
    assert!(response.is_success());
    let sent: Vec<_> = api.requests().iter().map(|request| request.header("authorization")).collect();
    assert_eq!(sent, [Some("Bearer first".to_owned()), Some("Bearer t2".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv21_the_blocking_client_waits_too() {
    let (tokens, api) = (tokens([postponed(1)]).await, always(RawReply::ok("well")).await);
    let builder = blocking::HttpClient::builder(api.url()).with_retry(5).with_token_auth(manager(&tokens));
    let send = move || Ok(builder.build()?.get("/").send()?.is_success());
    let (told, answer) = tokio::sync::oneshot::channel::<Result<bool, HttpClientError>>();
    // The blocking client must not block a thread of the runtime, so it gets a thread of its own.
    std::thread::spawn(move || told.send(send()));
    assert!(in_time(answer).await.expect("no panic").expect("an answer"));
    assert_eq!((tokens.requests().len(), api.requests().len()), (2, 1));
}
