//! The provider repeats a call once if it failed fast and transiently.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_core::{SecretSource, TokenProvider};
use forge_token::{HttpTransport, TokenManager};

use crate::server::{Server, Treatment, cut, status};
use crate::{patient, provider, provider_with, refreshable};

fn after_the_first(
    first: impl Fn() -> Treatment + Send + Sync + 'static,
) -> impl Fn(usize, usize) -> Treatment {
    move |_, among_all| if among_all == 0 { first() } else { Treatment::Answer }
}

fn cut_in_the_body() -> Treatment {
    Treatment::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access".to_vec())
}

#[tokio::test]
async fn inv08_one_bad_answer_fails_no_call() {
    let bad: [fn() -> Treatment; 5] = [
        || status(500, ""),
        || status(503, ""),
        cut,
        cut_in_the_body,
        || Treatment::Bytes(b"\x15\x03\x01\x00\x02\x02\x46".to_vec()),
    ];
    for bad in bad {
        let server = Server::start(after_the_first(bad)).await;
        provider(&server).fetch_token().await.expect("the repetition succeeds");
        assert_eq!(server.requests(), 2);
    }
}

#[tokio::test]
async fn inv08_a_dead_endpoint_sees_two_calls_and_the_last_error_is_told() {
    let server = Server::start(|_, among_all| status(if among_all == 0 { 500 } else { 502 }, "")).await;
    let error = provider(&server).fetch_token().await.expect_err("it is down");
    assert_eq!((error.status().map(|status| status.as_u16()), server.requests()), (Some(502), 2));

    let server = Server::start(|_, _| cut()).await;
    let error = provider(&server).fetch_token().await.expect_err("it is down");
    assert!(error.is_unanswered() && error.is_transient(), "{error:?}");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn inv08_who_asks_for_patience_or_refuses_gets_one_call() {
    for (refused, headers) in
        [(429, ""), (429, "retry-after: 0\r\n"), (503, "retry-after: 1\r\n"), (400, ""), (401, "")]
    {
        let server = Server::start(move |_, _| status(refused, headers)).await;
        let error = provider(&server).fetch_token().await.expect_err("refused");
        assert_eq!(error.status().map(|status| status.as_u16()), Some(refused));
        assert_eq!(server.requests(), 1, "{refused} {headers}");
    }
}

#[tokio::test]
async fn inv08_no_time_out_is_repeated() {
    let server = Server::start(|_, _| Treatment::Silence).await;
    let impatient = HttpTransport::with(|http| http.timeout(Duration::from_millis(100)));
    let error = provider_with(&server, "secret", impatient).fetch_token().await.expect_err("no answer");
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn inv25_no_refresh_is_repeated() {
    for failing in [500, 502, 503] {
        let server = Server::start(move |_, _| status(failing, "")).await;
        provider(&server).refresh_token(&refreshable()).await.expect_err("it is down");
        assert_eq!(server.refreshes(), 1, "{failing}");
    }
}

#[tokio::test]
async fn each_attempt_reads_the_secrets_anew() {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let secret = SecretSource::from_fn(move || {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, std::convert::Infallible>(format!("secret {number}").into()) }
    });
    let server = Server::start(after_the_first(|| status(500, ""))).await;
    let provider = provider_with(&server, secret, patient());
    provider.fetch_token().await.expect("a token");
    assert_eq!((server.requests(), read.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn inv08_a_status_counts_also_where_its_body_breaks_off() {
    for (refused, retry_after) in [(429, 60), (503, 60)] {
        let head = format!(
            "HTTP/1.1 {refused} X\r\nretry-after: {retry_after}\r\ncontent-length: 100\r\n\r\n{{\"err"
        );
        let server = Server::start(move |_, _| Treatment::Bytes(head.clone().into_bytes())).await;
        let error = provider(&server).fetch_token().await.expect_err("refused");
        assert_eq!(error.status().map(|status| status.as_u16()), Some(refused), "{error:?}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(retry_after)));
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn inv08_a_repetition_that_hangs_leaves_the_first_error_and_its_cool_down() {
    let treat = |_, among_all| if among_all % 2 == 0 { status(500, "") } else { Treatment::Silence };
    let server = Server::start(treat).await;
    let manager = TokenManager::builder(provider(&server));
    let manager = manager.fetch_timeout(Duration::from_secs(1)).build().expect("a manager");
    let error = manager.get_token().await.expect_err("it is down");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(500), "{error:?}");
    assert!(error.cool_down().is_some_and(|left| !left.is_zero()), "{error:?}");
    manager.get_token().await.expect_err("in the cool-down");
    assert_eq!(server.requests(), 2);
}

/// A secret that reads differently each time, as those do that rotate.
fn rotating() -> SecretSource {
    let read = AtomicUsize::new(0);
    SecretSource::from_fn(move || {
        let number = read.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, std::convert::Infallible>(format!("secret{number}").into()) }
    })
}

#[tokio::test]
async fn inv25_another_secret_is_no_reason_to_send_a_refresh_token_again() {
    for (refused, body) in [
        (500, r#"{"error":"invalid_grant"}"#),
        (400, r#"{"error":"invalid_grant"}"#),
        (302, ""),
        (400, r#"{"error":"invalid_scope"}"#),
    ] {
        let head = format!("HTTP/1.1 {refused} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let server = Server::start(move |_, _| Treatment::Bytes(head.clone().into_bytes())).await;
        let provider = provider_with(&server, rotating(), patient());
        provider.refresh_token(&refreshable()).await.expect_err("refused");
        assert_eq!(server.refreshes(), 1, "{refused} {body}");
    }
    // A server that refuses the client has not looked at the refresh token, so the provider may send it
    // again.
    let body = r#"{"error":"invalid_client"}"#;
    let head = format!("HTTP/1.1 401 X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let server = Server::start(move |_, _| Treatment::Bytes(head.clone().into_bytes())).await;
    provider_with(&server, rotating(), patient()).refresh_token(&refreshable()).await.expect_err("refused");
    assert_eq!(server.refreshes(), 2);
}
