use std::time::{Duration, Instant};

use super::Api;
use crate::authorization_server::AuthorizationServer;
use crate::raw_http::{Answer, Call};

async fn servers() -> (AuthorizationServer, Api) {
    let authorization_server = AuthorizationServer::start().await.expect("a port");
    let api = Api::start(&authorization_server).await.expect("a port");
    (authorization_server, api)
}

fn token(server: &AuthorizationServer) -> String {
    server.tokens().issue(None)
}

async fn get(api: &Api, path: &str, token: &str) -> Answer {
    Call::get(&format!("{}{path}", api.base_url())).bearer(token).send().await
}

#[tokio::test]
async fn wants_a_valid_token() {
    let (server, api) = servers().await;
    let good = token(&server);
    let accepted = get(&api, "/users/7", &good).await;
    assert_eq!((accepted.status, accepted.json()["path"].as_str()), (200, Some("/users/7")));

    let anonymous = Call::get(&api.base_url()).send().await;
    assert_eq!(anonymous.status, 401);
    assert_eq!(anonymous.header("www-authenticate"), Some(Api::CHALLENGE));
    assert_eq!(anonymous.json(), serde_json::json!({ "error": "invalid_token" }));
    assert_eq!(get(&api, "/", "made-up").await.status, 401);
    let other_scheme = format!("Basic {good}");
    assert_eq!(Call::get(&api.base_url()).header("authorization", &other_scheme).send().await.status, 401);

    server.revoke_all();
    assert_eq!(get(&api, "/users/7", &good).await.status, 401);
    assert_eq!((api.requests(), api.accepted(), api.rejected(), api.tokens_seen()), (5, 1, 4, 2));
    let shown = format!("{api:?}");
    assert!(shown.contains("rejected: 4") && !shown.contains(&good));
    api.clear();
    assert_eq!((api.requests(), api.accepted(), api.rejected(), api.tokens_seen()), (0, 0, 0, 0));
}

#[tokio::test]
async fn knows_the_tokens_that_really_were_issued() {
    let (server, api) = servers().await;
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", server.client_id()),
        ("client_secret", server.client_secret()),
    ];
    let answer = Call::form(&server.token_url(), &fields).send().await;
    let json = answer.json();
    let token = json["access_token"].as_str().expect("a token");
    assert_eq!(get(&api, "/", token).await.status, 200);
}

#[tokio::test]
async fn open_paths_need_none() {
    let (server, api) = servers().await;
    for path in ["/health", "/health/live?x=1", "/public", "/public/logo.png"] {
        assert_eq!(Call::get(&format!("{}{path}", api.base_url())).send().await.status, 200, "{path}");
    }
    assert_eq!(Call::get(&format!("{}/healthy", api.base_url())).send().await.status, 401);
    assert_eq!(api.open_requests_with_credentials(), 0);
    assert_eq!(get(&api, "/health", &token(&server)).await.status, 200);
    assert_eq!((api.open_requests(), api.open_requests_with_credentials()), (5, 1));
    assert_eq!((api.requests(), api.accepted(), api.rejected()), (6, 0, 1));
}

#[tokio::test]
async fn redirects_and_echoes() {
    let (server, api) = servers().await;
    let good = token(&server);
    let to = "/redirect?to=http%3A%2F%2F127.0.0.2%3A9%2Fx%3Fa%3Db";
    let redirect = get(&api, to, &good).await;
    assert_eq!((redirect.status, redirect.header("location")), (302, Some("http://127.0.0.2:9/x?a=b")));
    assert_eq!(get(&api, &format!("{to}&status=308"), &good).await.status, 308);
    assert_eq!(get(&api, &format!("{to}&status=200"), &good).await.status, 400);
    assert_eq!(get(&api, "/redirect", &good).await.status, 400);
    assert_eq!(get(&api, to, "made-up").await.status, 401);

    let echo = Call::new("PUT", &format!("{}/echo?a=%20", api.base_url())).bearer(&good).body("héllo");
    let echo = echo.send().await;
    assert!(!echo.body.contains(&good));
    let echo = echo.json();
    assert_eq!(
        (&echo["method"], &echo["path"], &echo["query"]),
        (&"PUT".into(), &"/echo".into(), &"a=%20".into())
    );
    assert_eq!(echo["body"], "héllo");
    assert!(echo["headers"].as_array().expect("names").contains(&"authorization".into()));
}

#[tokio::test]
async fn can_be_slow_and_reject_everybody() {
    let (server, api) = servers().await;
    let good = token(&server);
    api.always_reject(true);
    for challenge in [Some("Bearer error=\"insufficient_scope\""), None] {
        api.set_challenge(challenge.map(str::to_owned));
        let answer = get(&api, "/", &good).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, challenge));
    }
    api.always_reject(false);
    api.set_delay(Duration::from_millis(60));
    let start = Instant::now();
    assert_eq!(get(&api, "/", &good).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_token_revoked_while_the_answer_is_awaited_was_good() {
    let (server, api) = servers().await;
    api.set_delay(Duration::from_millis(100));
    let good = token(&server);
    let url = api.base_url();
    let asking = tokio::spawn(Call::get(&url).bearer(&good).send());
    while api.requests() == 0 {
        tokio::task::yield_now().await;
    }
    server.revoke_all();
    assert_eq!(asking.await.expect("an answer").status, 200);
}

#[tokio::test]
async fn holds_rejections_until_released() {
    let (server, api) = servers().await;
    api.hold("one");
    api.hold("two");
    let send = |id: &str, token: &str| {
        tokio::spawn(Call::get(&api.base_url()).bearer(token).header("x-request-id", id).send())
    };
    assert_eq!(send("three", "bad").await.expect("an answer").status, 401);
    assert_eq!(send("one", &token(&server)).await.expect("an answer").status, 200);

    let (one, two) = (send("one", "bad"), send("two", "bad"));
    api.until_waiting(2).await;
    assert_eq!((api.waiting(), api.rejected()), (2, 3));
    api.release("one");
    assert_eq!(one.await.expect("an answer").status, 401);
    assert_eq!(send("one", "bad").await.expect("an answer").status, 401);
    assert!(!two.is_finished());
    two.abort();
    while api.waiting() > 0 {
        tokio::task::yield_now().await;
    }

    let two = send("two", "bad");
    api.until_waiting(1).await;
    assert_eq!((api.sends_of("one"), api.sends_of("two"), api.sends_of("four")), (3, 2, 0));
    assert_eq!(api.max_sends_per_request(), 3);
    let address = api.server.address;
    drop(api);
    assert_eq!(two.await.expect("an answer").status, 401);
    crate::server::until_refused(address).await;
}

#[tokio::test]
async fn answers_a_thousand_at_once() {
    let (server, api) = servers().await;
    let good = token(&server);
    let asking: Vec<_> =
        (0..1000).map(|_| tokio::spawn(Call::get(&api.base_url()).bearer(&good).send())).collect();
    for answer in asking {
        assert_eq!(answer.await.expect("an answer").status, 200);
    }
    assert_eq!((api.accepted(), api.tokens_seen()), (1000, 1));
}
