//! Retries are independent of the replay after a 401.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_tests::{AuthorizationServer, Origin, RawReply};
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, ClientCredentialsTokenProvider, HttpClient, TokenData,
    TokenManager, TokenSource, reqwest, token_source_fn,
};

use super::world::{always, build, in_turn, quickly, retrying};

fn client(server: &AuthorizationServer, api: &Origin) -> HttpClient {
    let provider = ClientCredentialsTokenProvider::builder(
        server.token_url(),
        server.client_id(),
        server.client_secret(),
    );
    let manager = TokenManager::new(provider.build().expect("a provider"));
    build(retrying(api).with_retry_strategy(quickly().max_retries(2)).with_token_auth(manager))
}

/// The numbers of the tokens that the API got, in order.
fn tokens(api: &Origin) -> Vec<usize> {
    let sent: Vec<_> =
        api.requests().iter().map(|request| request.header("authorization").expect("a token")).collect();
    let mut known = sent.clone();
    known.dedup();
    sent.iter().map(|token| known.iter().position(|known| known == token).expect("known")).collect()
}

#[tokio::test]
async fn a_replay_is_no_retry() {
    let server = AuthorizationServer::start().await.expect("a server");
    let unauthorized = RawReply::status(401);
    for (replies, sent) in [
        (vec![503, 401, 503], vec![0, 0, 1, 1]),
        (vec![401, 503, 503], vec![0, 1, 1, 1]),
        (vec![503, 503, 401], vec![0, 0, 0, 1]),
    ] {
        let replies: Vec<_> = replies
            .into_iter()
            .map(|status| if status == 401 { unauthorized.clone() } else { RawReply::status(status) })
            .collect();
        let api = in_turn(replies).await;
        let response = client(&server, &api).get("/").send().await.expect("an answer");
        assert!(response.is_success());
        assert_eq!((tokens(&api), response.attempts()), (sent, 4));
    }
}

#[tokio::test]
async fn a_post_is_replayed_after_a_401_and_not_retried_after_a_503() {
    let server = AuthorizationServer::start().await.expect("a server");
    let api = in_turn([RawReply::status(401), RawReply::status(503)]).await;
    let response = client(&server, &api).post("/").body("order").send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), tokens(&api)), (503, vec![0, 1]));
}

#[tokio::test]
async fn a_spent_budget_does_not_stop_a_replay() {
    let server = AuthorizationServer::start().await.expect("a server");
    let api = always(RawReply::status(503)).await;
    let client = client(&server, &api);
    for _ in 0..60 {
        client.get("/").send().await.expect("an answer");
    }
    api.clear();
    client.get("/").send().await.expect("an answer");
    assert_eq!(api.requests().len(), 1, "it is spent");
    api.clear();
    let replied = AtomicUsize::new(0);
    api.set_reply(move |_| match replied.fetch_add(1, Ordering::SeqCst) {
        0 => RawReply::status(401),
        _ => RawReply::ok(""),
    });
    assert!(client.get("/").send().await.expect("an answer").is_success());
    assert_eq!(api.requests().len(), 2);
}

/// A source with one token. Later it has none.
fn one_token() -> impl TokenSource + 'static {
    let asked = Arc::new(AtomicUsize::new(0));
    token_source_fn(move || {
        let asked = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            match asked {
                0 => Ok(TokenData::new("only")),
                _ => Err(AuthenticationError::new("api", AuthenticationErrorKind::Timeout)),
            }
        }
    })
}

#[tokio::test]
async fn inv12_a_stream_gets_its_401_also_where_no_other_token_can_be_had() {
    let api = always(RawReply::status(401).with_body("who?")).await;
    let client = build(retrying(&api).with_token_auth(one_token()));
    let stream = reqwest::Body::wrap(String::from("streamed"));
    let response = client.put("/").body_stream(stream).send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), api.requests().len()), (401, 1));
    assert_eq!(response.text().await.expect("a body"), "who?");

    api.clear();
    let client = build(retrying(&api).with_token_auth(one_token()));
    let error = client.put("/").body("again and again").send().await.expect_err("no other token");
    assert!(error.is_authentication(), "it says more than the 401 does: {error:?}");
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn inv15_a_retry_without_a_token_is_not_sent() {
    let api = in_turn([RawReply::status(503)]).await;
    let client = build(retrying(&api).with_token_auth(one_token()));
    let error = client.get("/").send().await.expect_err("no token");
    assert!(error.is_authentication() && error.is_max_retries(), "{error:?}");
    assert_eq!(api.requests().len(), 1);
}
