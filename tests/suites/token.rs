//! Tokens from an authorization server over real sockets: one fetch for all callers, and the form of its
//! call.

#![allow(clippy::expect_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use forge_tests::{AuthorizationServer, Origin, RawReply, StatusCode};
use requestforge::oauth2::OAuth2TokenProviderBuilder;
use requestforge::testing::ManualClock;
use requestforge::{
    AuthMethod, AuthenticationError, AuthenticationErrorKind, ClientCredentialsTokenProvider,
    InMemoryTokenStorage, PasswordGrantTokenProvider, TokenManager, TokenProvider, async_trait, reqwest,
};

fn client(
    server: &AuthorizationServer,
) -> OAuth2TokenProviderBuilder<requestforge::oauth2::ClientCredentialsGrant> {
    ClientCredentialsTokenProvider::builder(server.token_url(), server.client_id(), server.client_secret())
        .service_name("test")
}

fn manager(server: &AuthorizationServer) -> TokenManager {
    TokenManager::new(client(server).build().expect("a provider"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv01_ten_thousand_callers_on_a_cold_cache_are_one_token_call() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_millis(50));
    let manager = manager(&server);
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.get_token().await.expect("a token").id() })
        })
        .collect();
    let mut ids = Vec::new();
    for caller in callers {
        ids.push(caller.await.expect("no panic"));
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(server.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv01_many_managers_over_one_storage_are_one_token_call() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_millis(50));
    let storage = InMemoryTokenStorage::new();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let provider = client(&server).build().expect("a provider");
            let manager =
                TokenManager::builder(provider).storage(storage.clone()).build().expect("a manager");
            tokio::spawn(async move { manager.get_token().await.expect("a token").id() })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
    assert_eq!(server.token_calls(), 1);
}

#[tokio::test]
async fn inv01_callers_of_different_keys_do_not_wait_for_each_other() {
    let server = AuthorizationServer::start().await.expect("a server");
    // A server that accepts connections and does not answer.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let silent_url = format!("http://{}/token", silent.local_addr().expect("an address"));
    let storage = InMemoryTokenStorage::new();
    let waiting = TokenManager::builder(
        ClientCredentialsTokenProvider::builder(silent_url, "a", "b")
            .service_name("test")
            .build()
            .expect("a provider"),
    )
    .storage(storage.clone())
    .build()
    .expect("a manager");
    let serving = TokenManager::builder(client(&server).build().expect("a provider"))
        .storage(storage)
        .build()
        .expect("a manager");
    tokio::select! {
        biased;
        _ = waiting.get_token() => panic!("nobody answers"),
        token = serving.get_token() => { token.expect("a token"); }
    }
}

#[tokio::test]
async fn inv02_the_first_caller_dropped_after_10_ms_is_still_one_token_call() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_millis(50));
    let manager = manager(&server);
    let first = manager.get_token();
    assert!(tokio::time::timeout(Duration::from_millis(10), first).await.is_err());
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.get_token().await.expect("a token") })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
    assert_eq!(server.token_calls(), 1);
}

#[test]
fn inv03_one_static_manager_serves_two_runtimes_one_after_the_other() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static MANAGER: LazyLock<TokenManager> = LazyLock::new(|| {
        let url = TOKEN_URL.get().expect("set before").clone();
        TokenManager::new(
            ClientCredentialsTokenProvider::builder(url, "client", "secret").build().expect("a provider"),
        )
    });
    static TOKEN_URL: std::sync::OnceLock<String> = std::sync::OnceLock::new();

    // The server has a runtime of its own, and keeps connections alive. The connections that the first
    // runtime leaves in the pool are dead when the second one uses them.
    let servers = tokio::runtime::Runtime::new().expect("a runtime");
    let origin = servers
        .block_on(Origin::start(|_| {
            let number = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
            RawReply::ok(format!(r#"{{"access_token":"t{number}"}}"#))
        }))
        .expect("a server");
    TOKEN_URL.set(format!("{}/token", origin.url())).expect("set once");

    for round in 1..=3 {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let token = runtime.block_on(MANAGER.force_refresh()).expect("a token");
        assert_eq!(token.access_token(), format!("t{round}"));
        assert_eq!(runtime.block_on(MANAGER.get_token()).expect("a token").id(), token.id());
    }
}

struct Panicking(AtomicUsize);

#[async_trait]
impl TokenProvider for Panicking {
    fn service_name(&self) -> &'static str {
        "panicking"
    }

    async fn fetch_token(&self) -> Result<requestforge::TokenData, AuthenticationError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "the first call panics on purpose");
        Ok(requestforge::TokenData::new("t"))
    }
}

#[tokio::test]
async fn inv03_when_the_provider_panics_every_waiter_is_told_and_the_next_call_works() {
    let manager = TokenManager::new(Panicking(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.get_token().await })
        })
        .collect();
    for caller in callers {
        let error = caller.await.expect("no panic").expect_err("the provider panicked");
        assert_eq!(*error.kind(), AuthenticationErrorKind::Panicked);
    }
    manager.get_token().await.expect("a token");
}

#[tokio::test]
async fn every_way_to_authenticate_is_understood() {
    let server = AuthorizationServer::start().await.expect("a server");
    for method in [AuthMethod::Body, AuthMethod::Header] {
        let provider = client(&server).auth_method(method).scope("read").build().expect("a provider");
        let token = provider.fetch_token().await.expect("a token");
        assert!(server.is_valid(token.access_token()), "{method:?}");
    }
    let password = PasswordGrantTokenProvider::builder(
        server.token_url(),
        server.client_id(),
        server.client_secret(),
        server.username(),
        server.password(),
    );
    let token = password.build().expect("a provider").fetch_token().await.expect("a token");
    assert!(server.is_valid(token.access_token()));
    assert_eq!(server.calls_by_grant("password"), 1);
    assert_eq!(server.calls_by_grant("client_credentials"), 2);
}

#[tokio::test]
async fn a_token_is_renewed_with_its_refresh_token_where_one_was_given() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_refresh_tokens(true);
    let manager = manager(&server);
    let first = manager.get_token().await.expect("a token");
    server.revoke_all();
    let second = manager.refresh_rejected(&first).await.expect("a renewal").expect("another token");
    assert!(server.is_valid(second.access_token()));
    assert_eq!(server.calls_by_grant("refresh_token"), 1);
    assert_ne!(first.token().refresh_token(), second.token().refresh_token(), "it rotates");

    server.revoke_refresh_tokens();
    second.mark_accepted();
    let third = manager.refresh_rejected(&second).await.expect("a renewal").expect("another token");
    assert!(server.is_valid(third.access_token()));
    assert_eq!((server.calls_by_grant("refresh_token"), server.calls_by_grant("client_credentials")), (2, 2));
}

#[tokio::test]
async fn a_wrong_secret_is_a_typed_error_that_does_not_show_it() {
    let server = AuthorizationServer::start().await.expect("a server");
    for method in [AuthMethod::Body, AuthMethod::Header] {
        let provider =
            ClientCredentialsTokenProvider::builder(server.token_url(), server.client_id(), "canary-secret")
                .auth_method(method)
                .build()
                .expect("a provider");
        let error = TokenManager::new(provider).get_token().await.expect_err("a wrong secret");
        assert!(error.is_invalid_client() && !error.is_transient(), "{error:?}");
        assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    assert_eq!(server.tokens_issued(), 0);
}

/// A provider whose endpoint is this origin.
async fn asked(origin: &Origin) -> Result<requestforge::TokenData, AuthenticationError> {
    let url = format!("{}/token", origin.url());
    let provider = ClientCredentialsTokenProvider::builder(url, "client", "canary-secret").build();
    provider.expect("a provider").fetch_token().await
}

#[tokio::test]
async fn inv14_a_redirect_of_a_token_endpoint_is_not_followed() {
    let elsewhere = Origin::start(|_| RawReply::ok(r#"{"access_token":"trap"}"#)).await.expect("a server");
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/token", elsewhere.url());
        let origin =
            Origin::start(move |_| RawReply::redirect(status, target.clone())).await.expect("a server");
        let error = asked(&origin).await.expect_err("a redirect is no token");
        assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
    }
    assert!(elsewhere.requests().is_empty(), "the other server must see nothing");
}

#[tokio::test]
async fn inv14_an_answer_is_capped_whatever_its_length_claims() {
    let large = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(1024 * 1024));
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for reply in
        [RawReply::ok(large.clone()), RawReply::ok(chunked).with_header("transfer-encoding", "chunked")]
    {
        let origin = Origin::start(move |_| reply.clone()).await.expect("a server");
        let error = asked(&origin).await.expect_err("too large");
        assert_eq!(*error.kind(), AuthenticationErrorKind::InvalidResponse);
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }
}

#[tokio::test]
async fn inv14_a_call_is_timed_the_body_included() {
    // One server never answers, and the other never ends its answer.
    for beginning in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let url = format!("http://{}/token", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.expect("a request") > 0);
            stream.write_all(beginning.as_bytes()).await.expect("written");
            std::future::pending::<()>().await;
        });
        let provider = ClientCredentialsTokenProvider::builder(url, "client", "secret")
            .http(|http| http.timeout(Duration::from_millis(100)))
            .build()
            .expect("a provider");
        let error = provider.fetch_token().await.expect_err("no answer");
        assert!(error.is_timeout() && error.is_transient(), "{error:?}");
        server.abort();
    }
}

#[tokio::test]
async fn inv14_loopback_is_called_without_a_proxy() {
    let proxy = Origin::start(|_| RawReply::ok(r#"{"access_token":"trap"}"#)).await.expect("a server");
    let server = AuthorizationServer::start().await.expect("a server");
    let proxy_url = proxy.url();
    let provider = client(&server)
        .http(move |http| http.proxy(reqwest::Proxy::all(&proxy_url).expect("a proxy")))
        .build()
        .expect("a provider");
    let token = provider.fetch_token().await.expect("a token");
    assert!(server.is_valid(token.access_token()));
    assert!(proxy.requests().is_empty(), "the secret went through a proxy");
}

#[tokio::test]
async fn a_token_endpoint_that_is_not_there_is_a_transient_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("http://{}/token", listener.local_addr().expect("an address"));
    drop(listener);
    let provider = ClientCredentialsTokenProvider::builder(url, "client", "canary-secret")
        .secret_query_param("key", "canary")
        .build()
        .expect("a provider");
    let error = TokenManager::new(provider).get_token().await.expect_err("nobody listens");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Connect);
    assert!(error.is_transient());
    let mut shown = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        shown += &error.to_string();
        cause = error.source();
    }
    assert!(!shown.contains("canary") && shown.contains("refused"), "{shown}");
}

#[tokio::test]
async fn inv08_a_server_that_fails_is_told_from_one_that_refuses_and_is_left_alone_for_a_while() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    let provider = client(&server).build().expect("a provider");
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    for _ in 0..100 {
        let error = manager.get_token().await.expect_err("it fails");
        assert!(error.is_transient() && !error.is_refresh(), "{error:?}");
    }
    assert_eq!(server.token_calls(), 2, "one call, repeated once");
    let status = manager.status();
    assert!(!status.has_token && status.last_error.is_some() && status.cool_down.is_some(), "{status:?}");

    server.set_failing(None);
    clock.advance(Duration::from_secs(1));
    manager.get_token().await.expect("mended");
    let status = manager.status();
    assert!(status.has_token && status.last_error.is_none() && status.next_renewal.is_some(), "{status:?}");
}
