//! Token endpoints that echo the request, and answers that a client cannot use.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use forge_tests::{Origin, RawReply, RecordedRequest};
use requestforge::{
    AuthMethod, AuthenticationError, ClientCredentialsTokenProvider, PasswordGrantTokenProvider, TokenData,
    TokenFetchPipeline, TokenManager, TokenProvider, TokenStorage,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::canaries::{Canaries, Canary, lower_hex, percent_forms};
use crate::http2::{Http2Server, Reply};
use crate::steps;

const METHODS: [AuthMethod; 3] = [AuthMethod::Body, AuthMethod::Header, AuthMethod::HeaderRaw];

/// A client of each kind, and the secrets that it sends to a token endpoint.
pub(crate) struct Client {
    pub(crate) kind: String,
    pub(crate) calls: Calls,
    /// The secrets that a server can echo.
    pub(crate) secrets: Vec<String>,
}

pub(crate) enum Calls {
    Grant(Arc<dyn TokenProvider>),
    Refresh(Arc<dyn TokenProvider>, TokenData),
    /// A new pipeline for each call, because a refused one waits before it calls again.
    Steps(Box<dyn Fn() -> TokenFetchPipeline>),
}

impl Client {
    async fn refused(&self) -> AuthenticationError {
        match &self.calls {
            Calls::Grant(provider) => provider.fetch_token().await,
            Calls::Refresh(provider, token) => provider.refresh_token(token).await,
            Calls::Steps(pipeline) => pipeline().execute(false).await,
        }
        .expect_err(&self.kind)
    }
}

/// Clients of all kinds, and their secrets.
fn clients(token_url: &str) -> (Vec<Client>, Canaries) {
    let [secret, password, refresh] =
        [Canary::secret("client secret"), Canary::secret("password"), Canary::secret("refresh token")];
    let texts = [secret.to_string(), password.to_string(), refresh.to_string()];
    let [secret_text, password_text, refresh_text] = &texts;
    let mut clients = Vec::new();
    for method in METHODS {
        let client = || {
            ClientCredentialsTokenProvider::builder(token_url, "my app", secret_text.as_str())
                .auth_method(method)
                .build()
                .expect("a provider")
        };
        let user = PasswordGrantTokenProvider::builder(
            token_url,
            "my app",
            secret_text.as_str(),
            "user",
            password_text.as_str(),
        );
        clients.push(Client {
            kind: format!("client credentials, {method:?}"),
            calls: Calls::Grant(Arc::new(client())),
            secrets: vec![secret_text.clone()],
        });
        clients.push(Client {
            kind: format!("password, {method:?}"),
            calls: Calls::Grant(Arc::new(user.auth_method(method).build().expect("a provider"))),
            secrets: vec![secret_text.clone(), password_text.clone()],
        });
        clients.push(Client {
            kind: format!("refresh, {method:?}"),
            calls: Calls::Refresh(
                Arc::new(client()),
                TokenData::new("old").with_refresh_token(refresh_text.as_str()),
            ),
            secrets: vec![secret_text.clone(), refresh_text.clone()],
        });
    }
    let mut canaries = Canaries::new([secret, password, refresh]);
    clients.extend(steps::clients(token_url, &mut canaries));
    (clients, canaries)
}

/// Every place of an answer in which a server may echo something.
pub(crate) fn answers(echo: &str) -> Vec<(&'static str, RawReply)> {
    let json = |status, body: &Value| {
        RawReply::status(status).with_header("content-type", "application/json").with_body(body.to_string())
    };
    let long = format!("{} {echo} {0}", "x".repeat(150));
    let html = format!("<html><title>Error</title><pre>{echo}</pre></html>");
    let one_line = echo.replace(['\r', '\n'], " ");
    vec![
        ("error", json(400, &json!({ "error": echo }))),
        ("error of a 200", json(200, &json!({ "error": format!("bad_{echo}") }))),
        ("error_description", json(401, &json!({ "error": "invalid_client", "error_description": echo }))),
        (
            "a long error_description",
            json(503, &json!({ "error": "invalid_grant", "error_description": long })),
        ),
        ("error_uri", json(400, &json!({ "error": "x", "error_uri": format!("https://x/?{echo}") }))),
        ("an unknown field", json(400, &json!({ "error": "invalid_grant", echo: echo, "debug": [echo] }))),
        ("an error that is an object", json(400, &json!({ "error": { "message": echo }, "message": echo }))),
        ("HTML", RawReply::status(403).with_body(html.clone())),
        ("HTML, 200", RawReply::ok(html)),
        ("a JSON string", json(200, &json!(echo))),
        (
            "WWW-Authenticate",
            RawReply::status(401).with_header("www-authenticate", format!("Basic realm=\"{one_line}\"")),
        ),
        (
            "any header",
            RawReply::status(500).with_header("x-debug", &one_line).with_header("retry-after", &one_line),
        ),
        ("Location", RawReply::redirect(307, format!("https://x.example.com/?{one_line}"))),
    ]
}

type Encoding = (&'static str, fn(&str) -> String);
type Echo = (&'static str, fn(&RecordedRequest) -> String);

/// Lets a server echo each secret of each kind of client by each of these encodings in each place.
pub(crate) async fn assert_masked(encodings: &[Encoding]) {
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    let (clients, mut canaries) = clients(&format!("{}/token", server.url()));
    for client in &clients {
        for secret in &client.secrets {
            for (encoding, encoded) in encodings {
                for (place, answer) in answers(&encoded(secret)) {
                    server.set_reply(move |_| answer.clone());
                    let error = client.refused().await;
                    canaries.look_at_error(&format!("echo: {encoding}, in {place}"), &error);
                }
            }
        }
    }
    assert!(server.requests().len() >= clients.len() * encodings.len() * answers("").len(), "each was sent");
    canaries.end();
}

#[tokio::test]
async fn inv16_what_is_echoed_as_it_is_is_masked() {
    assert_masked(&[
        ("plain", |secret| secret.to_owned()),
        ("in quotes", |secret| format!("client_secret=\"{secret}\" is wrong")),
        ("twice", |secret| format!("{secret}{secret}")),
    ])
    .await;
}

#[tokio::test]
async fn inv16_what_is_echoed_percent_encoded_is_masked() {
    assert_masked(&[
        ("percent, RFC 3986", |secret| percent_forms(secret)[1].clone()),
        ("percent, form", |secret| percent_forms(secret)[3].clone()),
    ])
    .await;
}

#[tokio::test]
async fn inv16_what_is_echoed_in_other_percent_encodings_is_masked() {
    assert_masked(&[
        ("percent, everything", |secret| percent_forms(secret)[0].clone()),
        ("percent, encodeURIComponent", |secret| percent_forms(secret)[2].clone()),
        ("percent, RFC 3986, lower case", |secret| lower_hex(&percent_forms(secret)[1])),
        ("percent, form, lower case", |secret| lower_hex(&percent_forms(secret)[3])),
    ])
    .await;
}

#[tokio::test]
async fn inv16_what_is_echoed_in_base64_is_masked() {
    assert_masked(&[
        ("base64", |secret| STANDARD.encode(secret)),
        ("base64 without padding", |secret| STANDARD_NO_PAD.encode(secret)),
    ])
    .await;
}

#[tokio::test]
async fn inv16_what_is_echoed_in_other_forms_of_base64_is_masked() {
    assert_masked(&[
        ("base64, URL-safe", |secret| URL_SAFE.encode(secret)),
        ("base64, URL-safe, without padding", |secret| URL_SAFE_NO_PAD.encode(secret)),
        ("base64 of id:secret", |secret| STANDARD.encode(format!("my app:{secret}"))),
        ("base64, one byte before", |secret| STANDARD.encode(format!(":{secret}:"))),
        ("base64, two bytes before", |secret| STANDARD.encode(format!("::{secret}:"))),
        ("base64, percent-encoded", |secret| percent_forms(&STANDARD.encode(secret))[1].clone()),
    ])
    .await;
}

/// Gateways and debug pages echo whole requests.
#[tokio::test]
async fn inv16_an_echoed_request_is_masked() {
    assert_echoes_masked(&[
        ("body", |request| String::from_utf8_lossy(request.body()).into_owned()),
        ("Authorization", |request| request.header("authorization").unwrap_or_default()),
        ("whole request", |request| String::from_utf8_lossy(&request.bytes).into_owned()),
    ])
    .await;
}

#[tokio::test]
async fn inv16_a_request_echoed_in_base64_is_masked() {
    assert_echoes_masked(&[
        ("body in base64", |request| STANDARD.encode(request.body())),
        ("whole request in base64", |request| STANDARD.encode(&request.bytes)),
    ])
    .await;
}

async fn assert_echoes_masked(contains_secret: &[Echo]) {
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    let (clients, mut canaries) = clients(&format!("{}/token", server.url()));
    for client in &clients {
        for &(what, echo) in contains_secret {
            for place in 0..answers("").len() {
                server.set_reply(move |request| answers(&echo(request)).swap_remove(place).1);
                let error = client.refused().await;
                canaries.look_at_error(&format!("echo: {what}, in {}", answers("")[place].0), &error);
            }
        }
    }
    canaries.end();
}

/// The decoded pair of Basic, as a server reads it.
#[tokio::test]
async fn inv16_an_echoed_basic_pair_is_masked() {
    let pair = |request: &RecordedRequest| {
        let basic = request.header("authorization")?;
        let decoded = STANDARD.decode(basic.strip_prefix("Basic ")?).ok()?;
        Some(String::from_utf8_lossy(&decoded).into_owned())
    };
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    let (clients, mut canaries) = clients(&format!("{}/token", server.url()));
    for client in clients.iter().filter(|client| client.kind.contains(", Header")) {
        for place in 0..answers("").len() {
            server.set_reply(move |request| answers(&pair(request).expect("a pair")).swap_remove(place).1);
            let error = client.refused().await;
            canaries.look_at_error(&format!("echo: pair, in {}", answers("")[place].0), &error);
        }
    }
    canaries.end();
}

/// Some gateways want a URL such as `https://auth.example.com/token?key=…`.
#[tokio::test]
async fn inv16_an_echoed_key_of_the_token_url_is_masked() {
    let key = Canary::secret("key in the query");
    let query = serde_urlencoded::to_string([("key", key.text())]).expect("a query");
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    let url = format!("{}/token", server.url());
    let builder = ClientCredentialsTokenProvider::builder(url, "id", "x");
    let provider = builder.secret_query_param("key", key.text()).build().expect("a provider");
    for echo in [key.to_string(), format!("POST /token?{query}")] {
        let mut canaries = Canaries::new([Canary::of("key in the query", key.text())]);
        for (place, answer) in answers(&echo) {
            server.set_reply(move |_| answer.clone());
            let error = provider.fetch_token().await.expect_err(place);
            canaries.look_at_error(&format!("echo: key of the token URL, in {place}"), &error);
        }
        canaries.end();
    }
}

/// A server knows which access token belongs to a refresh token, and may name it.
#[tokio::test]
async fn inv16_tokens_that_a_refusal_names_are_masked() {
    let [old, new] = [Canary::token("old access token"), Canary::token("access token beside an error")];
    let (old_text, new_text) = (old.to_string(), new.to_string());
    let mut canaries = Canaries::new([old, new]);
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(format!("{}/token", server.url()), "id", "x");
    let provider = provider.build().expect("a provider");
    let token = TokenData::new(old_text.as_str()).with_refresh_token("y");
    for (place, answer) in answers(&old_text) {
        server.set_reply(move |_| answer.clone());
        let error = provider.refresh_token(&token).await.expect_err(place);
        canaries.look_at_error(&format!("echo: old access token, in {place}"), &error);
    }
    let both =
        json!({ "access_token": new_text, "error": "odd", "error_description": format!("got {new_text}") });
    server.set_reply(move |_| RawReply::ok(both.to_string()));
    let error = provider.fetch_token().await.expect_err("an error of a 200");
    canaries.look_at_error("echo: token beside an error, in error_description", &error);
    canaries.end();
}

/// Answers with tokens that a client cannot use.
#[tokio::test]
async fn inv16_malformed_answers_are_not_told() {
    let [access, refresh] = [Canary::token("access token"), Canary::token("refresh token")];
    let (token, refresh_token) = (access.to_string(), refresh.to_string());
    let mut canaries = Canaries::new([access, refresh]);
    let whole = json!({ "access_token": token, "token_type": "Bearer", "refresh_token": refresh_token });
    let with = |field: &str, value: Value| {
        let mut answer = whole.clone();
        answer[field] = value;
        answer.to_string()
    };
    let bodies = [
        with("access_token", json!(format!("{token}\r\nX-Evil: {token}"))),
        with("access_token", json!([token])),
        with("access_token", json!({ &token: token })),
        with("access_token", json!(format!("{token}ü"))),
        with("access_token", json!("")),
        with("token_type", json!("mac")),
        with("token_type", json!(token)),
        with("token_type", json!([token])),
        with("token_type", json!(format!("{token}\n"))),
        with("expires_in", json!(token)),
        with("expires_in", json!(-1)),
        with("refresh_token", json!([refresh_token])),
        with("refresh_token", json!({ &refresh_token: 1 })),
        with("scope", json!([token, 1])),
        with("scope", json!({ &token: 1 })),
        json!([whole]).to_string(),
        json!(whole.to_string()).to_string(),
        whole.to_string().replace('}', ""),
        format!("{whole}{whole}"),
        format!("callback({whole})"),
        format!("access_token={token}&token_type=Bearer"),
        token.clone(),
        format!("{token}{}", "x".repeat(2 << 20)),
    ];
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    let url = format!("{}/token", server.url());
    for body in bodies {
        let case = body.replace(&token, "…").chars().take(70).collect::<String>();
        server.set_reply(move |_| RawReply::ok(body.clone()).with_header("content-type", "application/json"));
        let provider = ClientCredentialsTokenProvider::builder(&url, "id", "x").build().expect("a provider");
        let manager = TokenManager::new(provider);
        canaries.look_at_error(&format!("malformed: {case}"), &manager.get_token().await.expect_err(&case));
        canaries.look_at_debug("TokenManager", &manager);
        canaries.look_at_debug("TokenStatus", &manager.status());
        assert!(manager.status().last_error.is_some());
    }
    canaries.end();
}

/// Answers that are not HTTP, break off, or never come.
#[tokio::test]
async fn inv16_broken_exchanges_are_not_told() {
    let (canary, key) = (Canary::token("everywhere"), Canary::token("key in the query"));
    let text = canary.to_string();
    let key_text = key.to_string();
    let mut canaries = Canaries::new([canary, key]);
    let answers = [
        String::new(),
        text.clone(),
        format!("{text}\r\n\r\n"),
        format!("HTTP/1.1 {text} {text}\r\n\r\n"),
        format!("HTTP/1.1 200 {text}\x01\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{text}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{text}: x\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {text}\x01\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {text}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {text}\r\n\r\n{text}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{text}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{text}\r\n{text}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;{text}\r\nhello{text}\r\n"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{text}"),
        format!("HTTP/2.0 200 OK\r\n\r\n{text}"),
        format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: {text}\r\nconnection: upgrade\r\n\r\n{text}"),
    ];
    for answer in answers {
        let case = answer.replace(&text, "…");
        let port = once(answer).await;
        let url = format!("http://{port}/token");
        let provider = || {
            ClientCredentialsTokenProvider::builder(&url, "id", text.as_str())
                .secret_query_param("key", key_text.as_str())
        };
        let error = provider().build().expect("a provider").fetch_token().await.expect_err(&case);
        canaries.look_at_error(&format!("broken: {case:?}"), &error);
        // The server has stopped, so no process listens there.
        let provider = provider();
        let error = provider.build().expect("a provider").fetch_token().await.expect_err("refused");
        canaries.look_at_error("connection refused", &error);
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/token", silent.local_addr().expect("an address"));
    let impatient = ClientCredentialsTokenProvider::builder(&url, "id", text.as_str())
        .secret_query_param("key", key_text.as_str())
        .http(|http| http.timeout(std::time::Duration::from_millis(20)));
    let error = impatient.build().expect("a provider").fetch_token().await.expect_err("a time-out");
    assert!(error.is_timeout());
    canaries.look_at_error("time-out", &error);
    canaries.end();
}

/// Answers one request with these bytes, and closes.
pub(crate) async fn once(answer: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        drop(listener);
        let _ = stream.read(&mut [0; 8192]).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    address
}

/// `h2` shows the last words of an HTTP/2 connection (RFC 9113 6.8) in `Display` and `Debug`.
#[tokio::test]
async fn inv16_the_last_words_of_a_connection_are_not_told() {
    let canary = Canary::secret("client secret");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let echo = text.clone();
    let server = Http2Server::start(move |_| Reply::GoAway(format!("too often: {echo}"))).await;
    let provider = ClientCredentialsTokenProvider::builder(server.url(), "id", text.as_str())
        .http(reqwest_over_http2)
        .build()
        .expect("a provider");
    canaries.look_at_error("GOAWAY", &provider.fetch_token().await.expect_err("a cut connection"));
    canaries.end();
}

pub(crate) fn reqwest_over_http2(
    builder: requestforge::reqwest::ClientBuilder,
) -> requestforge::reqwest::ClientBuilder {
    builder.http2_prior_knowledge()
}

/// A failing storage, and the errors and logs when a caller invalidates a token.
#[tokio::test]
async fn inv16_storage_failures_do_not_tell_the_token() {
    let (clients, mut canaries) = clients("https://127.0.0.1:1/");
    let failing = crate::session::FailingStorage;
    canaries.look_at_debug("a storage", &failing);
    let providers: Vec<_> = clients
        .into_iter()
        .filter_map(|client| match client.calls {
            Calls::Grant(provider) | Calls::Refresh(provider, _) => Some(provider),
            Calls::Steps(_) => None,
        })
        .collect();
    let key = providers[0].cache_key();
    canaries.look_at_error("StorageError", &failing.get(&key).await.expect_err("it fails"));
    for provider in providers {
        let manager = TokenManager::builder(provider).storage(failing).build().expect("a manager");
        canaries.look_at_error("invalidation", &manager.invalidate_token().await.expect_err("it fails"));
        canaries.look_at_error("TokenManager", &manager.get_token().await.expect_err("nobody is there"));
        canaries.look_at_debug("TokenStatus", &manager.status());
    }
    canaries.end();
}
