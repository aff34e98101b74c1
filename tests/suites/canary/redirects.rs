//! Servers that repeat a secret of the request in the path of a redirect. Errors, logs and `Debug` show URLs, but
//! not this path.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_tests::{Origin, RawReply};
use http::{HeaderMap, HeaderName, HeaderValue};
use requestforge::auth::{AuthHook, AuthRequest};
use requestforge::client::{HttpClientBuilder, RequestBuilder};
use requestforge::hooks::{FailedCall, OutgoingRequest, ReceivedResponse};
use requestforge::reqwest::multipart::Form;
use requestforge::{AuthenticationError, HttpClient, Logging, StaticTokenSource, TokenAuth, TokenData};
use serde_json::json;

use crate::canaries::{Canaries, Canary, debug, percent_forms};
use crate::logs;

/// The `Debug` texts of everything that hooks of all kinds saw.
#[derive(Clone, Default)]
struct HookRecord(Arc<Mutex<String>>);

impl HookRecord {
    fn add(&self, value: &impl Debug) {
        self.0.lock().expect("unpoisoned").push_str(&debug(value));
    }
}

/// An auth hook that sends a secret, and records each request.
struct Signature(String, HookRecord);

const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

impl Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature")
    }
}

impl AuthHook for Signature {
    fn header_names(&self) -> Vec<HeaderName> {
        vec![SIGNATURE]
    }

    fn authenticate(&self, request: &AuthRequest<'_>) -> Result<HeaderMap, AuthenticationError> {
        self.1.add(request);
        Ok([(SIGNATURE, HeaderValue::try_from(&self.0).expect("a header"))].into_iter().collect())
    }
}

fn source(token: &str) -> TokenAuth {
    TokenAuth::new(StaticTokenSource::new(TokenData::new(token)).expect("a source"))
}

/// Clients that carry a secret, each in another way.
fn clients(url: &str, secret: &str, seen: &HookRecord) -> Vec<(&'static str, HttpClientBuilder)> {
    let new = || HttpClient::builder(url);
    let of_hook = secret.to_owned();
    vec![
        ("a token", new().with_token_auth(source(secret))),
        ("a key", new().with_api_key(secret)),
        ("a password", new().with_basic_auth("user", secret)),
        ("an own hook", new().with_auth(Signature(secret.to_owned(), seen.clone()))),
        ("a cookie", new().with_header("Cookie", format!("theme=dark; session={secret}"))),
        (
            "a request hook",
            new().with_request_hook(move |request: &mut OutgoingRequest<'_>| {
                request.set_header("X-Session-Token", &of_hook)
            }),
        ),
    ]
}

/// Requests that carry a secret of their own.
fn requests(client: &HttpClient, secret: &str) -> Vec<(&'static str, RequestBuilder)> {
    let post = || client.post("/start");
    vec![
        ("a query", post().query(&[("token", secret)])),
        ("a query without a name", client.get(format!("/start?{}", percent_forms(secret)[1]))),
        ("JSON", post().json(&json!({ "password": secret }))),
        ("JSON without a name", post().json(secret)),
        ("a form", post().form(&[("password", secret)])),
        ("a multipart form", post().multipart(Form::new().text("password", secret.to_owned()))),
        ("a text", post().body(secret.to_owned())),
        ("a header", post().header("Cookie", HeaderValue::try_from(secret).expect("a header"))),
    ]
}

fn locations(secret: &str, foreign: &str) -> Vec<String> {
    let path = &percent_forms(secret)[1];
    vec![
        format!("/{path}"),
        format!("/a/{}/b?c=d", URL_SAFE_NO_PAD.encode(secret)),
        format!("{foreign}/a/{path}"),
        format!("http://127.0.0.1:1/{path}"),
        format!("ftp://127.0.0.1/{path}"),
    ]
}

/// An answer that echoes the target of its request.
fn echo(target: &str) -> RawReply {
    RawReply::status(404)
        .with_header("content-type", "application/json")
        .with_header("x-echo", target)
        .with_header("location", target)
        .with_body(json!({ "path": target, "harmless": "as ever" }).to_string())
}

async fn look_at(canaries: &mut Canaries, what: &str, request: RequestBuilder) {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return canaries.look_at_error(what, &error),
    };
    canaries.look_at_debug(what, &response);
    assert!(
        response.text().await.expect("a body").contains("as ever"),
        "{what}: the caller gets the whole body"
    );
}

#[tokio::test]
async fn inv16_a_secret_in_the_path_of_a_redirect_is_not_shown() {
    logs::keep();
    let (canary, seen) = (Canary::token("repeated"), HookRecord::default());
    let secret = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let home = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let foreign = Origin::start(|request| echo(request.target())).await.expect("a server");
    let build = |builder: HttpClientBuilder| {
        let (before, after, failed) = (seen.clone(), seen.clone(), seen.clone());
        builder
            .with_logging(Logging::new().log_headers(true).log_body(true))
            .with_request_hook(move |request: &mut OutgoingRequest<'_>| before.add(request))
            .with_response_hook(move |response: &mut ReceivedResponse<'_>| after.add(response))
            .with_error_hook(move |call: &FailedCall<'_>| failed.add(call))
            .build()
            .expect("a client")
    };
    let plain = build(HttpClient::builder(home.url()));
    let mut redirected = 0;
    for location in locations(&secret, &foreign.url()) {
        home.set_reply(move |request| {
            let is_start = request.target().starts_with("/start");
            if is_start { RawReply::redirect(303, &location) } else { echo(request.target()) }
        });
        for (what, client) in clients(&home.url(), &secret, &seen) {
            look_at(&mut canaries, what, build(client).get("/start")).await;
            redirected += 1;
        }
        for (what, request) in requests(&plain, &secret) {
            look_at(&mut canaries, what, request).await;
            redirected += 1;
        }
        let streamed =
            plain.get("/start").header("Cookie", HeaderValue::try_from(&secret).expect("a header"));
        if let Ok(response) = streamed.send().await {
            let response = response.error_for_status().expect_err("a 404");
            canaries.look_at_error("a status", &response);
        }
    }
    assert_eq!(redirected, 5 * 14);
    let is_followed = |origin: &Origin| origin.requests().iter().any(|request| !request.contains("/start"));
    assert!(is_followed(&home) && is_followed(&foreign));
    canaries.look_at("hooks", &*seen.0.lock().expect("unpoisoned"));
    let is_ours = |line: &logs::Line| line.target.starts_with("forge");
    logs::look_at(&mut canaries, is_ours);
    canaries.end();
    let has = |part: &str| logs::lines().iter().any(|line| is_ours(line) && line.text.contains(part));
    assert!(has("/***") && has("as ever") && has(&foreign.url()), "the log shows harmless values");
}

/// The path of a redirect is shown if it repeats no secret.
#[tokio::test]
async fn the_path_of_a_redirect_without_a_secret_is_shown() {
    let home = Origin::start(|request| match request.target() {
        "/start" => RawReply::redirect(302, "/users/7"),
        _ => RawReply::status(404),
    })
    .await
    .expect("a server");
    let client =
        HttpClient::builder(home.url()).with_token_auth(source("a-token")).build().expect("a client");
    let error = client.get("/start").send().await.expect("an answer").error_for_status().expect_err("a 404");
    assert!(error.to_string().contains("/users/7"), "{error}");
}
