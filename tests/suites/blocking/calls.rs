//! Requests, and their answers.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read};
use std::time::Duration;

use forge_tests::RawReply;
use requestforge::blocking::{HttpClient, HttpResponse, RequestBuilder};
use requestforge::reqwest::multipart::Form;
use requestforge::{HttpClientConfigBuilder, HttpClientError};
use serde_json::{Value, json};

use crate::world::{World, origin};

#[test]
fn inv11_a_token_is_fetched_kept_and_renewed_after_a_401() {
    let world = World::new();
    for _ in 0..3 {
        let response = world.client.get("/users").send().expect("an answer");
        assert!(response.is_success() && response.attempts() == 1);
        assert_eq!(response.url().path(), "/users");
        assert_eq!(response.json::<Value>().expect("JSON"), json!({ "path": "/users" }));
    }
    assert_eq!(world.server.token_calls(), 1);
    world.server.revoke_all();
    let response = world.client.get("/users").send().expect("an answer");
    assert!(response.is_success() && response.attempts() == 2, "{response:?}");
    assert_eq!((world.server.token_calls(), world.api.rejected()), (2, 1));
}

#[test]
fn inv15_without_a_token_nothing_is_sent() {
    let world = World::new();
    world.server.set_failing(Some(forge_tests::StatusCode::UNAUTHORIZED));
    let error = world.client.get("/users").send().expect_err("no token");
    assert!(error.is_authentication() && error.authentication_error().is_some(), "{error:?}");
    assert_eq!(world.api.requests(), 0);
}

#[test]
fn each_method_sends_what_it_is_told() {
    type Make = fn(&HttpClient) -> RequestBuilder;
    let world = World::new();
    let made: [(Make, &str, &str); 6] = [
        (|client| client.get("/echo"), "GET", ""),
        (|client| client.post("/echo").json(&["a"]), "POST", r#"["a"]"#),
        (|client| client.put("/echo").form(&[("a", "b c")]), "PUT", "a=b+c"),
        (|client| client.patch("/echo").body("text"), "PATCH", "text"),
        (|client| client.delete("/echo"), "DELETE", ""),
        (|client| client.options("/echo"), "OPTIONS", ""),
    ];
    for (make, method, body) in made {
        let request = make(&world.client).query(&[("page", "2")]).header("x-word", "yes");
        let echo: Value = request.send().and_then(HttpResponse::json).expect("an answer");
        assert_eq!((&echo["method"], &echo["body"]), (&json!(method), &json!(body)), "{echo}");
        assert_eq!(echo["query"], "page=2");
        let headers = echo["headers"].as_array().expect("names");
        assert!(["authorization", "x-word"].iter().all(|name| headers.contains(&json!(name))), "{echo}");
    }
    let head = world.client.head("/echo").send().expect("an answer");
    assert!(head.is_success() && head.bytes().expect("no body").is_empty());
    let form = Form::new().text("title", "Q3");
    let echo: Value =
        world.client.post("/echo").multipart(form).send().and_then(HttpResponse::json).expect("an answer");
    assert!(echo["body"].as_str().is_some_and(|body| body.contains("Q3")), "{echo}");
}

#[test]
fn a_request_can_have_another_authentication_or_none_and_ask_for_a_new_token() {
    let world = World::new();
    let rejected = world.client.get("/users").no_auth().send().expect("an answer");
    assert_eq!((rejected.status_code().as_u16(), world.server.token_calls()), (401, 0));
    assert!(rejected.error_for_status().is_err_and(|error| error.is_status()));
    let foreign =
        requestforge::StaticTokenSource::new(requestforge::TokenData::new("foreign")).expect("it fits");
    let rejected = world.client.get("/users").auth(requestforge::TokenAuth::new(foreign)).send();
    assert_eq!((rejected.expect("an answer").status_code().as_u16(), world.server.token_calls()), (401, 0));
    for calls in 1..=2 {
        world.client.get("/users").force_renewal().send().and_then(HttpResponse::text).expect("an answer");
        assert_eq!(world.server.token_calls(), calls);
    }
    let curl = world.client.get("/users").to_curl().to_string();
    assert!(curl.contains("authorization: ***"), "{curl}");
}

#[test]
fn a_client_of_a_configuration_is_the_same() {
    let (origin, _runtime) = origin(|request| RawReply::ok(request.header("x-api-key").unwrap_or_default()));
    let config = HttpClientConfigBuilder::new().with_base_url(origin.url()).with_api_key("k").build();
    let client = HttpClient::new(config.expect("settings")).expect("a client");
    assert_eq!(client.get("/").send().and_then(HttpResponse::text).expect("an answer"), "k");
    let error = HttpClient::builder("nowhere").build().expect_err("no URL");
    assert_eq!(error.config_error().expect("a setting").field(), "base_url");
}

#[test]
fn no_answer_in_time_is_an_error() {
    let (origin, _runtime) = origin(|_| RawReply::silence());
    let client = HttpClient::builder(origin.url()).build().expect("a client");
    let short = Duration::from_millis(50);
    for request in [client.get("/").timeout(short), client.get("/").total_timeout(short)] {
        let error = request.send().expect_err("silence");
        assert!(error.is_timeout(), "{error:?}");
    }
}

#[test]
fn retries_are_waited_for() {
    let (origin, _runtime) = origin(|_| RawReply::status(503));
    let strategy = requestforge::SimpleRetryStrategy::new().max_retries(2).delay(Duration::from_millis(1));
    let client = HttpClient::builder(origin.url()).with_retry_strategy(strategy).build().expect("a client");
    let response = client.post("/").idempotency_key("k").send().expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (503, 3));
    client.post("/").retry_any_method().send().expect("an answer");
    client.post("/").send().expect("an answer");
    assert_eq!(origin.requests().len(), 3 + 3 + 1);
}

#[test]
fn a_body_of_any_size_can_be_read_as_it_arrives() {
    let text: String = (0..100_000).flat_map(|number| [number.to_string(), " ".to_owned()]).collect();
    let body = text.clone();
    let (origin, _runtime) = origin(move |_| RawReply::ok(body.clone()));
    let client = HttpClient::builder(origin.url()).with_max_body(1).build().expect("a client");
    let get = || client.get("/").send().expect("an answer");
    let mut read = Vec::new();
    io::copy(&mut get().into_reader(), &mut read).expect("a body");
    assert!(read == text.as_bytes());

    let mut reader = get().into_reader();
    assert_eq!(reader.read(&mut [0; 1]).expect("a byte"), 1);
    assert!(!format!("{reader:?}").contains("1 2 3"), "a body may hold anything");

    let mut reader = get().into_reader();
    let mut few = [0; 3];
    for expected in [b"0 1", b" 2 "] {
        assert_eq!(reader.read(&mut []).expect("nothing"), 0);
        reader.read_exact(&mut few).expect("three bytes");
        assert_eq!(&few, expected);
    }
    assert!(get().bytes().is_err_and(|error| error.is_body_too_large()));
    assert_eq!(get().json_or_none::<Value>(), None);
}

#[test]
fn a_body_that_breaks_off_or_does_not_come_is_an_error() {
    let (origin, _runtime) = origin(|request| {
        // The server closes the connection after three bytes of ten, or keeps it open.
        let connection = if request.target() == "/cut" { "close" } else { "keep-alive" };
        RawReply::ok("abc").with_header("content-length", "10").with_header("connection", connection)
    });
    let client = HttpClient::builder(origin.url()).build().expect("a client");
    let get = |path: &str| client.get(path).timeout(Duration::from_millis(200)).send().expect("a head");
    for (path, is_late) in [("/cut", false), ("/late", true)] {
        let error = get(path).text().expect_err("no whole body");
        assert_eq!(error.is_timeout(), is_late, "{error:?}");
        let error = get(path).into_reader().read_to_string(&mut String::new()).expect_err("no whole body");
        assert_eq!(error.kind() == io::ErrorKind::TimedOut, is_late, "{error:?}");
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<HttpClientError>());
        assert!(inner.is_some_and(|inner| inner.source().is_some() || inner.is_timeout()), "{error:?}");
    }
}

#[test]
fn what_hooks_left_and_headers_are_there() {
    let (origin, _runtime) = origin(|_| RawReply::ok("").with_header("x-word", "yes"));
    let client = HttpClient::builder(origin.url())
        .with_request_hook(|request: &mut requestforge::hooks::OutgoingRequest<'_>| {
            request.extensions_mut().insert(HashMap::from([("who", "a hook")]));
        })
        .build()
        .expect("a client");
    let response = client.get("/").send().expect("an answer");
    assert_eq!(response.headers()["x-word"], "yes");
    let left = response.extensions().get::<HashMap<&str, &str>>().expect("what the hook left");
    assert_eq!(left["who"], "a hook");
    assert!(response.elapsed() > Duration::ZERO);
}
