//! The errors for responses that are no token responses.

use forge_core::{AuthenticationError, AuthenticationErrorKind as Kind, TokenProvider};
use forge_token::ClientCredentialsTokenProvider;

use crate::provider;
use crate::server::{Server, Treatment, cut};

const TOO_LARGE: &str = "its headers or its `Content-Length` are too large";

async fn error_of(bytes: impl Into<Vec<u8>>) -> AuthenticationError {
    let bytes = bytes.into();
    let server = Server::start(move |_, _| Treatment::Bytes(bytes.clone())).await;
    provider(&server).fetch_token().await.expect_err("no token")
}

#[tokio::test]
async fn garbage_is_told_from_a_connection_that_never_was() {
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    for (bytes, told) in [
        ("\x15\x03\x01\x00\x02\x02\x46", "it is not valid HTTP"),
        ("SSH-2.0-OpenSSH_9.7\r\n", "it is not valid HTTP"),
        ("HTTP/1.1 abc OK\r\n\r\n", "it is not valid HTTP"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "it is not valid HTTP"),
        (&long_head, TOO_LARGE),
        (&many_headers, TOO_LARGE),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "it was cut off"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nsoon\r\n", "its body is broken"),
    ] {
        let error = error_of(bytes).await;
        assert_eq!(*error.kind(), Kind::UnreadableResponse, "{error:?}");
        let told = format!("test: no token: the token endpoint's response cannot be read: {told}");
        assert_eq!(error.to_string(), told);
        assert!(error.is_transient() && !error.is_unsent() && !error.is_unanswered(), "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_told_so() {
    let server = Server::start(|_, _| cut()).await;
    let error = provider(&server).fetch_token().await.expect_err("no token");
    assert_eq!(*error.kind(), Kind::Connect);
    let told = "test: no token: the token endpoint closed the connection without a response";
    assert_eq!(error.to_string(), told);
    assert!(error.is_unanswered() && error.is_transient() && !error.is_unsent());
}

#[tokio::test]
async fn tls_to_a_plain_port_is_told_so() {
    let server = Server::start(|_, _| Treatment::Answer).await;
    let url = server.url().replace("http://", "https://");
    let provider = ClientCredentialsTokenProvider::builder(url, "client", "secret").service_name("test");
    let error = provider.build().expect("a provider").fetch_token().await.expect_err("no TLS");
    assert_eq!(*error.kind(), Kind::Connect);
    assert!(error.is_unsent() && error.is_transient(), "{error:?}");
    assert!(error.to_string().ends_with(": the TLS handshake failed"), "{error}");
}
