//! The settings of authentication, and the headers that a caller sets.

use forge_tests::{Origin, RawReply, StatusCode};
use requestforge::{ConditionalAuthRetryStrategy, ExponentialAuthRetryStrategy, TokenAuth};

use crate::mount::{Mount, Request};
use crate::world::{World, manager};

on_each_mount! {
    excluded_paths_get_no_token_and_need_none,
    another_header_and_prefix_carry_the_renewed_token_too,
    a_cookie_carries_the_renewed_token_too,
    the_callers_own_header_wins,
    the_strategy_says_whether_a_request_is_replayed,
    a_strategy_looks_into_the_body_and_leaves_it_whole,
}

async fn excluded_paths_get_no_token_and_need_none<M: Mount>() {
    let world =
        World::<M>::with(|auth| auth.excluded_paths(["/health"]).excluded_path_patterns(["/public/*"])).await;
    world.server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    for path in ["/health", "/health?verbose=1", "/public/a/b"] {
        let answer = world.mount.send(Request::get(world.url(path))).await.expect("an answer");
        assert!(answer.status.is_success(), "{path}");
    }
    assert_eq!((world.api.open_requests(), world.api.open_requests_with_credentials()), (3, 0));
    assert_eq!(world.server.token_calls(), 0);
}

async fn another_header_and_prefix_carry_the_renewed_token_too<M: Mount>() {
    let server = forge_tests::AuthorizationServer::start().await.expect("a server");
    let api = Origin::start(|_| RawReply::status(401)).await.expect("a server");
    let auth = TokenAuth::new(manager(&server)).auth_header_name("X-Auth").auth_header_prefix("Token");
    let mount = M::new(auth, &api.url()).await;
    let answer = mount.send(Request::get(api.url())).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let sent: Vec<_> =
        api.requests().iter().map(|request| request.header("x-auth").expect("a token")).collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|value| value.strip_prefix("Token ").is_some_and(|token| server.issued(token))));
    assert_ne!(sent[0], sent[1]);
    assert!(api.requests().iter().all(|request| request.header("authorization").is_none()));
}

async fn a_cookie_carries_the_renewed_token_too<M: Mount>() {
    let server = forge_tests::AuthorizationServer::start().await.expect("a server");
    let api = Origin::start(|_| RawReply::status(401)).await.expect("a server");
    let auth = TokenAuth::new(manager(&server)).auth_cookie("JSESSIONID");
    let mount = M::new(auth, &api.url()).await;
    let answer = mount.send(Request::get(api.url())).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let sent: Vec<_> =
        api.requests().iter().map(|request| request.header("cookie").expect("a cookie")).collect();
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter().all(|value| value.strip_prefix("JSESSIONID=").is_some_and(|token| server.issued(token)))
    );
    assert_ne!(sent[0], sent[1]);
    assert!(api.requests().iter().all(|request| request.header("authorization").is_none()));
    let own = Request::get(api.url()).header("cookie", "lang=de");
    mount.send(own).await.expect("an answer");
    assert_eq!(api.requests().pop().expect("a request").header("cookie").as_deref(), Some("lang=de"));
}

async fn the_callers_own_header_wins<M: Mount>() {
    let world = World::<M>::new().await;
    let request = Request::get(world.url("/users")).id("only").header("authorization", "Bearer own");
    let answer = world.mount.send(request).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "the API does not know it");
    assert_eq!((world.api.sends_of("only"), world.server.token_calls()), (1, 0));
}

async fn the_strategy_says_whether_a_request_is_replayed<M: Mount>() {
    for replays in [0, 1] {
        let strategy = ExponentialAuthRetryStrategy::new()
            .max_retries(replays)
            .base_delay(std::time::Duration::from_millis(1));
        let world = World::<M>::with(|auth| auth.auth_retry_strategy(strategy)).await;
        world.api.always_reject(true);
        assert_eq!(world.get("only").await.expect("an answer").status, StatusCode::UNAUTHORIZED);
        let sends = 1 + replays as usize;
        assert_eq!((world.api.sends_of("only"), world.server.token_calls()), (sends, sends));
    }
}

async fn a_strategy_looks_into_the_body_and_leaves_it_whole<M: Mount>() {
    for (error, wanted) in [("invalid_token", true), ("another", false)] {
        let world = World::<M>::with(|auth| {
            auth.auth_retry_strategy(ConditionalAuthRetryStrategy::new(move |response| {
                let body: Option<serde_json::Value> = response.json_or_none();
                body.is_some_and(|body| body["error"] == error)
            }))
        })
        .await;
        world.api.always_reject(true);
        let answer = world.get("only").await.expect("an answer");
        assert_eq!(answer.body, r#"{"error":"invalid_token"}"#);
        let sends = if wanted && M::SHOWS_BODIES { 2 } else { 1 };
        assert_eq!(world.api.sends_of("only"), sends, "{error}");
    }
}
