//! Client secrets that are wrong, change, or come from another program.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_tests::{AuthorizationServer, Origin, RawReply};
use requestforge::testing::ManualClock;
use requestforge::token::SystemClock;
use requestforge::{AuthenticationErrorKind, Secret, SecretSource, TokenManager};

use crate::world::{provider, settings};

/// A file of this test. It is deleted when this value is dropped.
struct SecretFile(PathBuf);

impl SecretFile {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("forge-lifetime-{test}-{}", std::process::id())))
    }

    fn write(&self, secret: &str) {
        std::fs::write(&self.0, format!("{secret}\n")).expect("written");
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A minute of manual time and ten thousand calls. All of them fail.
async fn a_minute_of_refusals(manager: &TokenManager, clock: &ManualClock) {
    for _ in 0..10_000 {
        let error = manager.get_token().await.expect_err("a wrong secret");
        assert!(error.is_invalid_client() && error.is_permanent(), "{error:?}");
        clock.advance(Duration::from_millis(6));
    }
}

#[tokio::test]
async fn inv08_a_wrong_secret_is_a_handful_of_token_calls_and_mended_at_the_next() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let file = SecretFile::new("mended");
    file.write("wrong");
    let provider = provider(&server, SecretSource::file(&file.0), &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    a_minute_of_refusals(&manager, &clock).await;
    println!("{} token calls for 10,000 callers in a minute", server.token_calls());
    assert!((3..=6).contains(&server.token_calls()), "{} calls", server.token_calls());

    // The file has another wrong secret. The manager tries it at once, and once.
    let before = server.token_calls();
    file.write("wrong too");
    for _ in 0..100 {
        manager.get_token().await.expect_err("a wrong secret");
    }
    assert_eq!(server.token_calls(), before + 1);
    // The manager tries it at once.
    file.write(server.client_secret());
    manager.get_token().await.expect("mended");
    assert_eq!(server.token_calls(), before + 2);
    let status = manager.status();
    assert!(status.has_token && status.last_error.is_none() && status.cool_down.is_none(), "{status:?}");
}

#[tokio::test]
async fn inv08_a_secret_from_a_closure_is_read_before_each_token_call() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let vault = Arc::new(Mutex::new("wrong".to_owned()));
    let source = SecretSource::from_fn({
        let vault = Arc::clone(&vault);
        move || {
            let secret = vault.lock().expect("unpoisoned").clone();
            async move { Ok::<_, std::io::Error>(Secret::from(secret)) }
        }
    });
    let provider = provider(&server, source, &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    a_minute_of_refusals(&manager, &clock).await;
    assert!(server.token_calls() <= 6, "{} calls", server.token_calls());
    server.client_secret().clone_into(&mut vault.lock().expect("unpoisoned"));
    manager.get_token().await.expect("mended");
}

#[tokio::test]
async fn inv08_a_secret_that_changes_while_it_is_being_refused_is_tried_once_more_at_once() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let (reads, right) = (AtomicUsize::new(0), server.client_secret().to_owned());
    let source = SecretSource::from_fn(move || {
        let old = reads.fetch_add(1, Ordering::SeqCst) == 0;
        let secret = if old { "old".to_owned() } else { right.clone() };
        async move { Ok::<_, std::io::Error>(Secret::from(secret)) }
    });
    let provider = provider(&server, source, &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    manager.get_token().await.expect("a token");
    assert_eq!((server.token_calls(), server.tokens_issued()), (2, 1));
}

#[tokio::test]
async fn inv08_a_secret_that_is_another_at_each_reading_does_not_undo_the_cool_down() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let reads = AtomicUsize::new(0);
    // A vault signs an assertion for a client that the server does not know any more.
    let source = SecretSource::from_fn(move || {
        let secret = format!("assertion {}", reads.fetch_add(1, Ordering::SeqCst));
        async move { Ok::<_, std::io::Error>(Secret::from(secret)) }
    });
    let provider = provider(&server, source, &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    for _ in 0..100 {
        manager.get_token().await.expect_err("refused");
    }
    assert!(server.token_calls() <= 20, "{} token calls for 100 callers at once", server.token_calls());
}

#[tokio::test]
async fn inv08_a_secret_file_that_was_missing_is_read_at_the_next_call() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let file = SecretFile::new("missing");
    let provider = provider(&server, SecretSource::file(&file.0), &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    let error = manager.get_token().await.expect_err("no file");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
    assert!(error.to_string().contains("forge-lifetime-missing"), "{error}");
    assert_eq!(server.token_calls(), 0);
    file.write(server.client_secret());
    let token = manager.get_token().await;
    assert!(token.is_ok(), "reading a file costs no token call, yet: {token:?}");
}

#[tokio::test]
async fn a_secret_from_the_environment_is_sent_as_it_is() {
    let origin = Origin::start(|_| RawReply::ok(r#"{"access_token":"t"}"#)).await.expect("a server");
    let (variable, value) = std::env::vars()
        .find(|(_, value)| value.len() > 3 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .expect("a plain variable");
    let clock = Arc::new(SystemClock);
    let provider =
        settings(format!("{}/token", origin.url()), "client", SecretSource::env(&variable), &clock);
    TokenManager::new(provider.build().expect("a provider")).get_token().await.expect("a token");
    let requests = origin.requests();
    let body = String::from_utf8_lossy(requests[0].body()).into_owned();
    assert!(body.contains(&format!("client_secret={value}")), "{variable}: {body}");
}
