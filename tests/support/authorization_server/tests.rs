use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::AuthorizationServer;
use crate::raw_http::{Answer, Call};

async fn server() -> AuthorizationServer {
    AuthorizationServer::start().await.expect("a port")
}

async fn call(server: &AuthorizationServer, secret: &str, fields: &[(&str, &str)]) -> Answer {
    let client = [("client_id", server.client_id()), ("client_secret", secret)];
    Call::form(&server.token_url(), &[&client, fields].concat()).send().await
}

async fn fetch(server: &AuthorizationServer, fields: &[(&str, &str)]) -> Answer {
    call(server, server.client_secret(), fields).await
}

async fn client_credentials(server: &AuthorizationServer) -> Answer {
    fetch(server, &[("grant_type", "client_credentials")]).await
}

fn text(answer: &Answer, field: &str) -> String {
    answer.json()[field].as_str().unwrap_or_else(|| panic!("no {field}: {}", answer.body)).to_owned()
}

#[tokio::test]
async fn issues_a_new_token_at_each_call() {
    let server = server().await;
    let scoped = fetch(&server, &[("grant_type", "client_credentials"), ("scope", "a b")]).await;
    let other = client_credentials(&server).await;

    assert_eq!((scoped.status, scoped.header("cache-control")), (200, Some("no-store")));
    assert_eq!(scoped.json()["expires_in"], 3600);
    assert_eq!(scoped.json()["token_type"], "Bearer");
    assert_eq!(scoped.json()["scope"], "a b");
    assert!(other.json().get("scope").or(other.json().get("refresh_token")).is_none());
    let token = text(&scoped, "access_token");
    assert_ne!(token, text(&other, "access_token"));
    assert!(server.is_valid(&token) && server.issued(&token) && !server.issued("made-up"));
    assert_eq!((server.token_calls(), server.tokens_issued()), (2, 2));
    assert_eq!((server.calls_by_grant("client_credentials"), server.calls_by_grant("password")), (2, 0));
}

#[tokio::test]
async fn knows_the_client_by_body_and_by_basic() {
    let server = server().await;
    let wrong = call(&server, "wrong", &[("grant_type", "client_credentials")]).await;
    assert_eq!((wrong.status, text(&wrong, "error").as_str()), (401, "invalid_client"));
    assert!(!text(&wrong, "error_description").is_empty());
    assert_eq!(wrong.header("www-authenticate"), None);

    let by_basic = async |id: &str, secret: &str, fields: &[(&str, &str)]| {
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        Call::form(&server.token_url(), fields).header("authorization", &basic).send().await
    };
    let grant = [("grant_type", "client_credentials")];
    let secret = utf8_percent_encode(server.client_secret(), NON_ALPHANUMERIC).to_string();
    assert_eq!(by_basic(server.client_id(), &secret, &grant).await.status, 200);
    assert_eq!(by_basic(server.client_id(), &secret.replace("%20", "+"), &grant).await.status, 200);

    let raw = by_basic(server.client_id(), server.client_secret(), &grant).await;
    assert_eq!((raw.status, text(&raw, "error").as_str()), (401, "invalid_client"));
    assert!(raw.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic")));
    let both = by_basic(server.client_id(), &secret, &[grant[0], ("client_secret", "x")]).await;
    assert_eq!((both.status, text(&both, "error").as_str()), (400, "invalid_request"));
}

#[tokio::test]
async fn knows_the_user() {
    let server = server().await;
    let login = async |name: &str, password: &str| {
        fetch(&server, &[("grant_type", "password"), ("username", name), ("password", password)]).await
    };
    assert_eq!(login(server.username(), server.password()).await.status, 200);
    let wrong = login(server.username(), "wrong").await;
    assert_eq!((wrong.status, text(&wrong, "error").as_str()), (400, "invalid_grant"));
    let unnamed = fetch(&server, &[("grant_type", "password")]).await;
    assert_eq!((unnamed.status, text(&unnamed, "error").as_str()), (400, "invalid_request"));
    assert_eq!((server.calls_by_grant("password"), server.tokens_issued()), (3, 1));
}

#[tokio::test]
async fn rotates_refresh_tokens() {
    let server = server().await;
    let refresh = async |token: &str| {
        fetch(&server, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    };
    server.set_refresh_tokens(true);
    let first = text(&client_credentials(&server).await, "refresh_token");
    let second = text(&refresh(&first).await, "refresh_token");
    assert_ne!(first, second);
    let spent = refresh(&first).await;
    assert_eq!((spent.status, text(&spent, "error").as_str()), (400, "invalid_grant"));

    server.set_refresh_tokens(false);
    for _ in 0..2 {
        let answer = refresh(&second).await;
        assert_eq!(answer.status, 200);
        assert!(answer.json().get("refresh_token").is_none());
    }
    server.revoke_refresh_tokens();
    assert_eq!(refresh(&second).await.status, 400);
    assert_eq!(server.calls_by_grant("refresh_token"), 5);
}

#[tokio::test]
async fn refuses_what_it_does_not_understand() {
    let server = server().await;
    let error = async |fields: &[(&str, &str)]| text(&fetch(&server, fields).await, "error");
    assert_eq!(error(&[("grant_type", "magic")]).await, "unsupported_grant_type");
    assert_eq!(error(&[]).await, "invalid_request");
    assert_eq!(error(&[("scope", "a"), ("scope", "b")]).await, "invalid_request");
    let json = Call::new("POST", &server.token_url()).header("content-type", "application/json").body("{}");
    assert_eq!(text(&json.send().await, "error"), "invalid_request");
    assert_eq!((server.token_calls(), server.tokens_issued()), (4, 0));
    assert_eq!(Call::get(&server.token_url()).send().await.status, 405);
}

#[tokio::test]
async fn tokens_end_by_revocation_and_by_themselves() {
    let server = server().await;
    let revoked = text(&client_credentials(&server).await, "access_token");
    server.revoke_all();
    assert!(server.issued(&revoked) && !server.is_valid(&revoked));

    server.set_lifetime(Some(Duration::ZERO));
    let brief = client_credentials(&server).await;
    assert_eq!(brief.json()["expires_in"], 0);
    assert!(!server.is_valid(&text(&brief, "access_token")));

    server.set_lifetime(None);
    let endless = client_credentials(&server).await;
    assert!(endless.json().get("expires_in").is_none());
    assert!(server.is_valid(&text(&endless, "access_token")));
    assert!(!server.is_valid(&revoked));
}

#[tokio::test]
async fn can_be_slow_and_fail() {
    let server = server().await;
    server.set_delay(Duration::from_millis(60));
    server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    let start = Instant::now();
    let answer = client_credentials(&server).await;
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert_eq!((answer.status, answer.body.as_str()), (503, ""));
    assert_eq!((server.token_calls(), server.tokens_issued()), (1, 0));

    assert_eq!(answer.header("retry-after"), None);
    server.set_delay(Duration::ZERO);
    server.set_retry_after(Some(2));
    assert_eq!(client_credentials(&server).await.header("retry-after"), Some("2"));
    server.set_failing(None);
    assert_eq!(client_credentials(&server).await.status, 200);
}

#[tokio::test]
async fn tells_who_called_in_which_order() {
    let server = server().await;
    for caller in ["b", "a", ""] {
        let call = Call::form(&server.token_url(), &[]);
        let call = if caller.is_empty() { call } else { call.header("user-agent", caller) };
        call.send().await;
    }
    assert_eq!(server.callers(), ["b", "a", ""]);
}

#[tokio::test]
async fn stops_when_dropped_and_tells_no_secret() {
    let server = server().await;
    let shown = format!("{server:?}");
    assert!(shown.contains("token_calls: 0"));
    assert!(!shown.contains(server.client_secret()) && !shown.contains(server.password()));
    let address = server.server.address;
    let mut idle = TcpStream::connect(address).await.expect("a server");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    assert!(idle.read(&mut [0; 1024]).await.expect("an answer") > 0);
    let _port = server.stop().await.expect("stopped");
    assert!(matches!(idle.read(&mut [0; 1024]).await, Ok(0) | Err(_)));
    TcpStream::connect(address).await.expect_err("it is stopped");
}
