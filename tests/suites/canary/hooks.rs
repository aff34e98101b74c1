//! The inputs and the reports of hooks, and the lines that `with_logging` writes.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_tests::{Origin, RawReply, RecordedRequest};
use http::{HeaderMap, HeaderValue, StatusCode};
use requestforge::client::HttpClientBuilder;
use requestforge::hooks::{FailedCall, IgnoringFailures, OutgoingRequest, RateLimit, ReceivedResponse};
use requestforge::reqwest::ClientBuilder;
use requestforge::retry::{RetryOutcome, RetryStrategy};
use requestforge::{
    CircuitBreaker, CorrelationId, ExponentialBackoffRetryStrategy, HttpClient, HttpClientConfigBuilder,
    HttpClientError, Logging, RateLimitReader, SimpleRetryStrategy, StaticTokenSource, TokenAuth, TokenData,
};
use serde_json::json;

use crate::canaries::{Canaries, Canary, debug, percent_forms};
use crate::logs;

/// The texts that hooks and logs show, each with its origin, as they come.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Shown {
    fn add(&self, what: &'static str, shown: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((what, shown));
    }

    fn look(&self, canaries: &mut Canaries, expected: &[&str]) {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for what in expected {
            assert!(shown.iter().any(|(by, _)| by == what), "{what} was shown nothing");
        }
        for (what, shown) in &*shown {
            canaries.look_at(what, shown);
        }
    }
}

/// Shows each request that it gets.
#[derive(Debug)]
struct ShowingStrategy(SimpleRetryStrategy, Shown);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl RetryStrategy for ShowingStrategy {
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        self.1.add("RetryOutcome", debug(outcome));
        self.0.delay_before_retry(retry, outcome)
    }

    fn reads_body(&self, _status: StatusCode, _headers: &HeaderMap) -> bool {
        true
    }
}

/// A client with a canary in each place for a secret.
fn client(url: String, canary: &str) -> HttpClientBuilder {
    let source = StaticTokenSource::new(TokenData::new(canary)).expect("a source");
    let mut sensitive = HeaderValue::try_from(canary).expect("a header");
    sensitive.set_sensitive(true);
    HttpClient::builder(url)
        .with_token_auth(TokenAuth::new(source))
        .with_api_key(canary)
        .with_header("Cookie", canary)
        .with_header("X-Plain", sensitive)
        .with_http(ClientBuilder::no_proxy)
}

fn query(canary: &str) -> String {
    serde_urlencoded::to_string([("token", canary)]).expect("a query")
}

/// Echoes a text everywhere.
fn echo(canary: &str, status: u16) -> RawReply {
    RawReply::status(status)
        .with_header("content-type", "application/json")
        .with_header("set-cookie", canary)
        .with_header(
            "www-authenticate",
            format!("Bearer error=\"invalid_request\", error_description={canary}"),
        )
        .with_header("x-echo", format!("you said {canary}, did you?"))
        .with_header("x-encoded", format!("you said {}", STANDARD.encode(format!("{canary}:"))))
        .with_header("x-next", format!("https://user:secret@api.example.com/x?{}", query(canary)))
        .with_header("link", format!("</x?{}>; rel=next", query(canary)))
        .with_header("content-location", format!("/x?{}", query(canary)))
        .with_header("x-ratelimit-remaining", canary)
        .with_body(
            json!({
                "access_token": "not this one",
                "echo": canary,
                "encoded": [percent_forms(canary), [STANDARD.encode(canary), STANDARD.encode(format!("id:{canary}"))]],
                "nested": [{ "password": [canary], "list": [format!("{canary}!")] }],
                canary: "as a name",
            })
            .to_string(),
        )
}

#[tokio::test]
async fn inv16_with_logging_writes_no_secret() {
    logs::keep();
    let canary = Canary::token("everywhere");
    let text = canary.to_string();
    let (password, field) = (Canary::secret("password"), Canary::secret("field"));
    let (password_text, field_text) = (password.to_string(), field.to_string());
    // Only the server knows this secret before it says it.
    let issued = Canary::secret("issued");
    let issued_text = issued.to_string();
    let mut canaries = Canaries::new([canary, password, field, issued]);
    let reply = text.clone();
    let api = Origin::start(move |request| {
        if request.target().starts_with("/redirect") {
            return RawReply::redirect(307, format!("/x?{}#{reply}", query(&reply)));
        }
        let issued = issued_text.as_str();
        if request.target().starts_with("/form") {
            let form = serde_urlencoded::to_string([("access_token", issued), ("as", "a form")]);
            return RawReply::ok(form.expect("a form"))
                .with_header("content-type", "application/x-www-form-urlencoded");
        }
        if request.target().starts_with("/token") {
            let token = json!({ "accessToken": issued, "user": { "client_secret": [issued], "as": "JSON" } });
            return RawReply::ok(token.to_string()).with_header("content-type", "application/json");
        }
        let said = |name: &str| request.header(name).is_some_and(|value| value == name);
        echo(&reply, if said("x-fail") { 503 } else { 200 })
    })
    .await
    .expect("a server");
    let logging = Logging::new().log_headers(true).log_body(true).max_body(1 << 20).sensitive_keys(["iban"]);
    let retries = SimpleRetryStrategy::new().max_retries(1).delay(Duration::ZERO);
    let configured = |builder: HttpClientBuilder| {
        let builder = builder.with_logging(logging.clone()).with_retry_strategy(retries);
        builder.with_request_hook(CorrelationId::new()).build().expect("a client")
    };
    let clients = [
        configured(client(api.url(), &text)),
        configured(client(api.url(), &text).with_basic_auth("user", password_text.as_str())),
        configured(client(api.url(), &text).with_bearer_token(text.as_str())),
    ];
    for client in &clients {
        for path in ["/x", "/redirect"] {
            let post = || client.put(format!("{path}?{}#{text}", query(&text)));
            let requests = [
                post().json(
                    &json!({ "password": field_text, "IBAN": field_text, "a": [{ "otp": field_text }] }),
                ),
                post().form(&[("client_secret", &field_text), ("i-ban", &field_text)]),
                post().json(&field_text),
                post().body(field_text.clone()),
                post().header("content-type", "text/plain").body(field_text.clone()),
                post().body_stream(field_text.clone()),
                post().header("x-fail", "x-fail").header("X-Own", sensitive(&field_text)),
            ];
            for request in requests {
                // The client cannot send a stream again to the target of a redirect.
                let Ok(response) = request.send().await else { continue };
                assert!(response.text().await.expect("a body").contains("as a name"));
            }
        }
    }
    for path in ["/form", "/token"] {
        clients[0].get(path).send().await.expect("an answer").text().await.expect("a body");
    }
    // No server listens there: the log line has the error.
    let gone = configured(client("http://127.0.0.1:1".into(), &text));
    gone.get(format!("/x?{}", query(&text))).send().await.expect_err("nobody there");
    // A request to another server has the caller's own credentials.
    let elsewhere = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let own =
        clients[0].get(format!("{}/x?{}", elsewhere.url(), query(&text))).header("authorization", &text);
    own.send().await.expect("an answer");

    let is_ours = |line: &logs::Line| line.target == "forge_client::logging";
    let lines: Vec<_> = logs::lines().into_iter().filter(is_ours).collect();
    for part in [
        "response received",
        "no response",
        "response body read",
        "request_body=",
        "response_body=",
        "response_headers=",
        "as a name",
        "as=a+form",
        "JSON",
    ] {
        assert!(lines.iter().any(|line| line.text.contains(part)), "no line has {part}");
    }
    let is_sent = |request: &RecordedRequest| request.contains(&text);
    assert!(api.requests().iter().filter(|request| is_sent(request)).count() > 30, "the server did get it");
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

/// A request and its server say parts of a secret, and no name marks the whole value as secret.
#[tokio::test]
async fn inv16_with_logging_writes_no_part_of_a_credential() {
    logs::keep();
    let canary = Canary::alphanumeric("a part");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let reply = text.clone();
    let api = Origin::start(move |_| {
        RawReply::status(200)
            .with_header("content-type", "application/json")
            .with_header("x-echo", format!("you said {reply}, did you?"))
            .with_body(json!({ "echo": reply, "harmless": "as ever" }).to_string())
    })
    .await
    .expect("a server");
    let logging = Logging::new().log_headers(true).log_body(true);
    let build = |url: String| {
        let builder = HttpClient::builder(url).with_http(ClientBuilder::no_proxy);
        builder.with_logging(logging.clone()).build().expect("a client")
    };
    let client = build(api.url());
    let parts = [
        ("Cookie", format!("theme=dark; session={text}; b=2")),
        ("Authorization", format!("Token token={text}")),
        ("Authorization", format!("Digest username=\"u\", uri=\"/x\", response=\"{text}\"")),
    ];
    let headers = ["X-Otp", "X-Pwd", "X-Bearer", "X-Sid", "X-Sig", "X-Pin", "X-Nonce", "X-Ticket", "X-Hmac"]
        .map(|name| (name, text.clone()));
    for (name, value) in parts.iter().chain(&headers) {
        let response = client.put("/x").header(*name, value).send().await.expect("an answer");
        assert!(response.text().await.expect("a body").contains(&text), "the caller's is whole");
    }

    let fields = [
        json!({ "passphrase": text, "passcode": text, "SAMLResponse": text, "recovery_codes": [text] }),
        json!({ "private_exponent": text, "connectionString": text, "dsn": text }),
        json!({ "state": text, "redirect_uri": "/x" }),
        json!({ "next": format!("/a?access_token={text}"), "text": format!("at /a?p={text}, or b.php?p={text}") }),
        json!({ "url": format!("go to https://u:{text}@api.example.com/") }),
        json!({ "json": json!({ "password": text, "a": [{ "pin": text }] }).to_string() }),
        json!({ "deep": json!({ "json": json!({ "password": text }).to_string() }).to_string() }),
        json!({ "list": [{ "name": "password", "value": text }, { "key": "X-Otp", "value": [text] }] }),
    ];
    for body in fields {
        let said = body.to_string();
        let next = format!("/a?access_token={text}");
        let api = Origin::start(move |_| {
            let reply = RawReply::ok(said.clone()).with_header("content-type", "application/json");
            reply.with_header("x-next", next.clone()).with_header("x-json", said.clone())
        })
        .await
        .expect("a server");
        let client = build(api.url());
        // The server first says it by itself, and then repeats the request.
        client.get("/x").send().await.expect("an answer").text().await.expect("a body");
        client.post("/x").json(&body).send().await.expect("an answer").text().await.expect("a body");
    }
    let has = |part: &str| logs::lines().iter().any(|line| line.text.contains(part));
    assert!(has("as ever") && has("x-next: ") && has("redirect_uri"), "harmless things are told");
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).expect("a header");
    value.set_sensitive(true);
    value
}

#[tokio::test]
async fn inv16_what_hooks_are_shown_does_not_show_secrets() {
    logs::keep();
    let canary = Canary::token("everywhere");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let reply = text.clone();
    let api = Origin::start(move |request| {
        echo(&reply, if request.target().starts_with("/503") { 503 } else { 200 })
    })
    .await
    .expect("a server");

    let shown = Shown::default();
    let by = |what: &'static str| {
        let shown = shown.clone();
        move |text: String| shown.add(what, text)
    };
    let (outgoing, received, failed) = (by("OutgoingRequest"), by("ReceivedResponse"), by("FailedCall"));
    let set = text.clone();
    let strategy = SimpleRetryStrategy::new().max_retries(1).delay(Duration::ZERO);
    let client = client(api.url(), &text)
        .with_retry_strategy(ShowingStrategy(strategy, shown.clone()))
        .with_request_hook(move |request: &mut OutgoingRequest<'_>| {
            // A hook sees the whole request: it may sign the request, for example.
            assert!(request.headers().values().any(|value| value.as_bytes() == set.as_bytes()));
            assert!(request.url().query().is_some());
            request.extensions_mut().insert(set.clone());
            outgoing(debug(request));
            request.set_header("X-Hook", set.as_str())
        })
        .with_response_hook(move |response: &mut ReceivedResponse<'_>| received(debug(response)))
        .with_response_hook(RateLimitReader)
        .with_error_hook(move |call: &FailedCall<'_>| failed(debug(call)))
        .build()
        .expect("a client");
    for path in ["/x", "/503"] {
        let request = client.put(format!("{path}?{}#{text}", query(&text))).header("X-Own", &text);
        let response = request.json(&json!({ "a": text })).send().await.expect("an answer");
        canaries.look_at_debug("HttpResponse", &response);
        canaries.look_at_debug("RateLimit", &response.extensions().get::<RateLimit>());
        canaries.look_at_debug("BodyStream", &response.bytes_stream());
    }
    let nobody = client.get(format!("http://127.0.0.1:1/x?{}", query(&text))).header("X-Own", &text);
    canaries.look_at_error("HttpClientError", &nobody.send().await.expect_err("nobody there"));
    shown.look(&mut canaries, &["OutgoingRequest", "ReceivedResponse", "FailedCall", "RetryOutcome"]);
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

#[test]
fn inv16_settings_of_hooks_logging_retries_and_the_breaker_are_not_shown() {
    let canary = Canary::token("captured");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let captured = text.clone();
    let correlation = CorrelationId::new().generate_with(move || captured.clone());
    canaries.look_at_debug("CorrelationId", &correlation);
    canaries.look_at_debug("IgnoringFailures", &IgnoringFailures(correlation.clone()));
    canaries.look_at_debug("RateLimitReader", &RateLimitReader);
    let logging = Logging::new().log_headers(true).log_body(true);
    canaries.look_at_debug("Logging", &logging);
    let captured = text.clone();
    let breaker = CircuitBreaker::builder().on_transition(move |_| drop(captured.clone()));
    canaries.look_at_debug("CircuitBreakerBuilder", &breaker);
    let breaker = breaker.build().expect("a breaker");
    canaries.look_at_debug("CircuitBreaker", &breaker);
    let captured = text.clone();
    let builder = HttpClientConfigBuilder::new()
        .with_base_url("https://api.example.com")
        .with_api_key(text.as_str())
        .with_request_hook(correlation)
        .with_response_hook(RateLimitReader)
        .with_error_hook(move |_: &FailedCall<'_>| drop(captured.clone()))
        .with_logging(logging)
        .with_circuit_breaker(breaker)
        .with_retry_strategy(ExponentialBackoffRetryStrategy::new());
    canaries.look_at_debug("HttpClientConfigBuilder", &builder);
    canaries.look_at_debug("HttpClientConfig", &builder.build().expect("a configuration"));
    canaries.end();
}

/// The error of a call, a bad answer among the errors.
async fn failure(client: &HttpClient, url: &str) -> HttpClientError {
    let request = client.put(url).json(&json!({ "a": "x" }));
    request.send().await.and_then(requestforge::HttpResponse::error_for_status).expect_err("a failure")
}

#[tokio::test]
async fn inv16_errors_of_hooks_retries_and_the_breaker_do_not_tell_secrets() {
    logs::keep();
    let canary = Canary::token("everywhere");
    let text = canary.to_string();
    let line = format!("{text}\n");
    let mut canaries = Canaries::new([canary]);
    let reply = text.clone();
    let api = Origin::start(move |_| echo(&reply, 503)).await.expect("a server");
    let url = format!("/x?{}#{text}", query(&text));
    // The client refuses a value that cannot be a header, and does not show it. The log tells the failure of
    // an ignored hook.
    let hook = move |request: &mut OutgoingRequest<'_>| request.set_header("X-Hook", line.as_str());
    let failing = client(api.url(), &text).with_request_hook(hook.clone()).build().expect("a client");
    let told = failure(&failing, &url).await;
    assert!(told.is_hook() && told.source().is_some());
    canaries.look_at_error("a hook", &told);
    let ignoring =
        client(api.url(), &text).with_request_hook(IgnoringFailures(hook)).build().expect("a client");
    assert!(failure(&ignoring, &url).await.is_status());

    // The client repeats this call until the breaker opens.
    let breaker = CircuitBreaker::builder().failure_threshold(2).build().expect("a breaker");
    let retries = SimpleRetryStrategy::new().max_retries(9).delay(Duration::ZERO);
    let breaking = client(api.url(), &text).with_circuit_breaker(breaker).with_retry_strategy(retries);
    let breaking = breaking.build().expect("a client");
    canaries.look_at_error("a 503", &failure(&breaking, &url).await);
    let open = failure(&breaking, &url).await;
    assert!(open.is_circuit_open(), "{open:?}");
    canaries.look_at_error("an open circuit", &open);
    canaries.look_at_debug("CircuitOpen", &open.circuit_open());

    // First no server listens, and then the call has no time.
    let retrying = client(api.url(), &text).with_retry_strategy(retries).build().expect("a client");
    let nobody = failure(&retrying, &format!("http://127.0.0.1:1{url}")).await;
    assert!(nobody.is_max_retries(), "{nobody:?}");
    canaries.look_at_error("retries", &nobody);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_url = format!("http://{}{url}", silent.local_addr().expect("an address"));
    let hasty =
        client(api.url(), &text).with_total_timeout(Duration::from_millis(1)).build().expect("a client");
    let late = failure(&hasty, &silent_url).await;
    assert!(late.is_timeout(), "{late:?}");
    canaries.look_at_error("no time", &late);

    // A body that is longer than the client may keep in memory.
    let small = client(api.url(), &text).with_max_body(3).build().expect("a client");
    let response = small.get(&url).send().await.expect("an answer");
    let large = response.bytes().await.expect_err("too large");
    assert!(large.is_body_too_large(), "{large:?}");
    canaries.look_at_error("a large body", &large);

    // URLs with a user and a password.
    let [encoded, ..] = percent_forms(&text);
    for url in
        [format!("http://user:{encoded}@127.0.0.1/x"), format!("http://{encoded}@127.0.0.1/x?{encoded}")]
    {
        let refused = failure(&small, &url).await;
        assert!(refused.is_builder(), "{refused:?}");
        canaries.look_at_error("user-info", &refused);
        canaries.look_at_debug("RequestBuilder", &small.get(&url));
    }
    let wrong = CorrelationId::in_header(&text).expect_err("no name");
    canaries.look_at_error("CorrelationId", &wrong);

    assert!(logs::lines().iter().any(|line| line.text.contains("a request hook failed")));
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}
