//! Tests against django-oauth-toolkit, an authorization server that we did not write.

#![allow(clippy::expect_used)]

mod django_short_lived;

use std::sync::LazyLock;

use requestforge::oauth2::OAuth2TokenProviderBuilder;
use requestforge::{
    AuthMethod, ClientCredentialsTokenProvider, HttpClient, PasswordGrantTokenProvider, TokenAuth,
    TokenManager, TokenProvider,
};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

static SERVER: LazyLock<Value> = LazyLock::new(|| server("FORGE_DJANGO"));

/// The description of the server that this variable names.
fn server(variable: &str) -> Value {
    let told = std::env::var(variable)
        .expect("no server is running: `cargo xtask test --suite django` starts them for this suite");
    serde_json::from_str(&told).expect("the server tells of itself in JSON")
}

/// One test runs at a time, because the server counts for all tests.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}

fn told(pointer: &str) -> &'static str {
    told_by(&SERVER, pointer)
}

fn told_by(server: &'static Value, pointer: &str) -> &'static str {
    server.pointer(pointer).and_then(Value::as_str).expect("the server tells of it")
}

fn confidential() -> OAuth2TokenProviderBuilder<requestforge::oauth2::ClientCredentialsGrant> {
    ClientCredentialsTokenProvider::builder(
        told("/token_url"),
        told("/clients/confidential/client_id"),
        told("/clients/confidential/client_secret"),
    )
}

fn password() -> OAuth2TokenProviderBuilder<requestforge::oauth2::PasswordGrant> {
    password_at(&SERVER)
}

fn password_at(server: &'static Value) -> OAuth2TokenProviderBuilder<requestforge::oauth2::PasswordGrant> {
    PasswordGrantTokenProvider::builder(
        told_by(server, "/token_url"),
        told_by(server, "/clients/password/client_id"),
        told_by(server, "/clients/password/client_secret"),
        told_by(server, "/user/username"),
        told_by(server, "/user/password"),
    )
}

/// The server's description of a token (RFC 7662).
async fn introspected(token: &str) -> Value {
    let client = HttpClient::builder(told("/url")).build().expect("a client");
    let form = [
        ("token", token),
        ("client_id", told("/clients/confidential/client_id")),
        ("client_secret", told("/clients/confidential/client_secret")),
    ];
    client.post("/o/introspect/").form(&form).send().await.expect("an answer").json().await.expect("JSON")
}

/// Revokes a token (RFC 7009), as an operator does.
async fn revoke(token: &str, owner: &str) {
    let client = HttpClient::builder(told("/url")).build().expect("a client");
    let form = [
        ("token", token),
        ("client_id", told(&format!("/clients/{owner}/client_id"))),
        ("client_secret", told(&format!("/clients/{owner}/client_secret"))),
    ];
    let response = client.post("/o/revoke_token/").form(&form).send().await.expect("an answer");
    assert!(response.is_success(), "{response:?}");
}

/// All token calls that the server has counted.
async fn token_calls() -> u64 {
    let client = HttpClient::builder(told("/url")).build().expect("a client");
    let stats: Value = client.get("/stats").send().await.expect("an answer").json().await.expect("JSON");
    stats["token_calls"].as_u64().expect("a count")
}

fn api(manager: &TokenManager) -> HttpClient {
    HttpClient::builder(told("/url"))
        .with_token_auth(TokenAuth::new(manager.clone()))
        .build()
        .expect("a client")
}

#[tokio::test]
async fn client_credentials_by_body_and_by_basic() {
    let _alone = alone().await;
    for method in [AuthMethod::Body, AuthMethod::Header] {
        let provider = confidential().auth_method(method).scope("read").build().expect("a provider");
        let token = provider.fetch_token().await.expect("a token");
        assert_eq!(token.scope(), Some("read"), "{method:?}");
        assert!(token.expires_at().is_some() && !token.is_expired());
        assert_eq!(introspected(token.access_token()).await["active"], true, "{method:?}");
    }
    // The server decodes the encoding that RFC 6749 demands, and refuses values without it.
    let raw = confidential().auth_method(AuthMethod::HeaderRaw).build().expect("a provider");
    assert!(raw.fetch_token().await.expect_err("not encoded").is_invalid_client());
}

#[tokio::test]
async fn inv13_the_token_opens_the_api_and_inv12_a_missing_scope_is_not_renewed() {
    let _alone = alone().await;
    let manager = TokenManager::new(confidential().scope("read").build().expect("a provider"));
    let client = api(&manager);
    let me: Value = client.get("/api/me").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(me["client_id"], told("/clients/confidential/client_id"));
    let before = token_calls().await;
    let refused = client.get("/api/admin").send().await.expect("an answer");
    assert_eq!(refused.status_code(), 403);
    assert_eq!(token_calls().await, before);
}

#[tokio::test]
async fn inv11_a_hundred_requests_with_a_revoked_token_are_one_renewal() {
    let _alone = alone().await;
    let manager = TokenManager::new(confidential().scope("read").build().expect("a provider"));
    let client = api(&manager);
    assert!(client.get("/api/me").send().await.expect("an answer").is_success());
    let before = token_calls().await;
    revoke(manager.get_token().await.expect("a token").access_token(), "confidential").await;
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("/api/me").send().await.expect("an answer").status_code() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.expect("no panic"), 200);
    }
    assert_eq!(token_calls().await, before + 1);
}

#[tokio::test]
async fn the_password_grant_with_a_rotating_refresh_token() {
    let _alone = alone().await;
    let manager = TokenManager::new(password().scope("read").build().expect("a provider"));
    let client = api(&manager);
    let me: Value = client.get("/api/me").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(me["user"], told("/user/username"));

    let mut seen = vec![manager.get_token().await.expect("a token")];
    for round in 0..5 {
        let current = seen.last().expect("a token").clone();
        revoke(current.access_token(), "password").await;
        let requests: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(
                    async move { client.get("/api/me").send().await.expect("an answer").status_code() },
                )
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.expect("no panic"), 200, "round {round}");
        }
        let renewed = manager.get_token().await.expect("a token");
        assert!(seen.iter().all(|token| token.id() != renewed.id()), "round {round}");
        assert!(renewed.token().refresh_token().is_some());
        seen.push(renewed);
    }
}

#[tokio::test]
async fn inv08_a_refresh_token_that_was_used_already_falls_back_to_the_password() {
    let _alone = alone().await;
    let provider = password().scope("read").build().expect("a provider");
    let first = provider.fetch_token().await.expect("a token");
    let second = provider.refresh_token(&first).await.expect("a renewal");
    assert_ne!(first.refresh_token(), second.refresh_token());
    let reused = provider.refresh_token(&first).await.expect_err("it was used already");
    assert!(reused.is_refresh() && reused.is_invalid_grant(), "{reused:?}");
    // By now the reuse protection has revoked the whole family.
    assert!(provider.refresh_token(&second).await.expect_err("revoked with its family").is_invalid_grant());

    let storage = requestforge::InMemoryTokenStorage::new();
    let manager = TokenManager::builder(provider).storage(storage.clone()).build().expect("a manager");
    let stale = second.with_expires_at(a_minute_ago());
    requestforge::TokenStorage::set(&storage, manager.cache_key(), &stale).await.expect("stored");
    let token = manager.get_token().await.expect("a token, by the password");
    assert_eq!(introspected(token.access_token()).await["active"], true);
}

fn a_minute_ago() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now() - std::time::Duration::from_secs(60)
}

#[tokio::test]
async fn a_wrong_secret_and_a_wrong_url_are_told_apart() {
    let _alone = alone().await;
    let wrong = ClientCredentialsTokenProvider::builder(
        told("/token_url"),
        told("/clients/confidential/client_id"),
        "canary-secret",
    );
    let error = wrong.build().expect("a provider").fetch_token().await.expect_err("a wrong secret");
    assert!(error.is_invalid_client() && !format!("{error} {error:?}").contains("canary"), "{error:?}");

    // Without the slash this server answers with an HTML page.
    let url = told("/token_url").trim_end_matches('/');
    let lost = ClientCredentialsTokenProvider::builder(url, "client", "secret").build().expect("a provider");
    let error = lost.fetch_token().await.expect_err("not the endpoint");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(404));
}
