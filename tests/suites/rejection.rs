//! The reaction to a 401: one renewal for all callers, and each request is sent once more only.

#![allow(clippy::expect_used)]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply, StatusCode};
use requestforge::testing::ManualClock;
use requestforge::token::{Clock, SystemClock};
use requestforge::{
    ClientCredentialsTokenProvider, ConditionalAuthRetryStrategy, ExponentialAuthRetryStrategy, HttpClient,
    HttpClientError, HttpResponse, InMemoryTokenStorage, SimpleAuthRetryStrategy, TokenAuth, TokenManager,
};

struct World {
    server: AuthorizationServer,
    api: Api,
    manager: TokenManager,
    client: HttpClient,
}

impl World {
    async fn new(configure: impl FnOnce(TokenAuth) -> TokenAuth) -> Self {
        Self::at(Arc::new(SystemClock), configure).await
    }

    async fn at(clock: Arc<dyn Clock>, configure: impl FnOnce(TokenAuth) -> TokenAuth) -> Self {
        let server = AuthorizationServer::start().await.expect("a server");
        let api = Api::start(&server).await.expect("an API");
        let provider = ClientCredentialsTokenProvider::builder(
            server.token_url(),
            server.client_id(),
            server.client_secret(),
        )
        .build()
        .expect("a provider");
        let manager = TokenManager::builder(provider)
            .storage(InMemoryTokenStorage::builder().clock(Arc::clone(&clock)).build())
            .clock(clock)
            .build()
            .expect("a manager");
        let client = HttpClient::builder(api.base_url())
            .with_token_auth(configure(TokenAuth::new(manager.clone())))
            .build()
            .expect("a client");
        Self { server, api, manager, client }
    }

    async fn get(&self, id: &str) -> Result<HttpResponse, HttpClientError> {
        self.client.get("/users").header("x-request-id", id).send().await
    }
}

/// A small random generator. Its seed reproduces each order.
fn shuffled(seed: u64, count: usize) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let j = usize::try_from(state % (i as u64 + 1)).expect("small");
        order.swap(i, j);
    }
    order
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv11_100_requests_with_one_revoked_token_are_one_renewal_in_whatever_order_they_are_told() {
    const REQUESTS: usize = 100;
    for seed in 1..=10 {
        let world = Arc::new(World::new(|auth| auth).await);
        world.get("warm-up").await.expect("an answer");
        world.server.revoke_all();
        world.server.set_delay(Duration::from_millis(20));
        world.api.clear();
        for id in 0..REQUESTS {
            world.api.hold(&id.to_string());
        }
        let requests: Vec<_> = (0..REQUESTS)
            .map(|id| {
                let world = Arc::clone(&world);
                tokio::spawn(
                    async move { world.get(&id.to_string()).await.expect("an answer").status_code() },
                )
            })
            .collect();
        world.api.until_waiting(REQUESTS).await;

        // The API has already rejected all tokens, and no caller knows. A third of the callers hear it
        // before the renewal, a third during it (the token call takes 20 ms), and the rest after it.
        let order = shuffled(seed, REQUESTS);
        for (position, id) in order.iter().enumerate() {
            if position == REQUESTS / 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if position == 2 * REQUESTS / 3 {
                while world.server.tokens_issued() < 2 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            world.api.release(&id.to_string());
        }
        for request in requests {
            assert_eq!(request.await.expect("no panic"), StatusCode::OK);
        }
        assert_eq!(world.server.token_calls(), 2, "seed {seed}: the first fetch, and one renewal");
        assert_eq!(world.api.max_sends_per_request(), 2, "seed {seed}");
        assert_eq!((world.api.rejected(), world.api.accepted()), (REQUESTS, REQUESTS), "seed {seed}");
    }
}

#[tokio::test]
async fn inv11_an_api_that_always_answers_401_costs_no_token_call_per_request() {
    let world = World::new(|auth| auth).await;
    world.api.always_reject(true);
    for id in 0..1_000 {
        let response = world.get(&id.to_string()).await.expect("an answer");
        assert_eq!(response.status_code(), StatusCode::UNAUTHORIZED);
    }
    assert!(world.api.max_sends_per_request() <= 2);
    assert!(world.server.token_calls() <= 6, "{} token calls", world.server.token_calls());
}

#[tokio::test]
async fn inv11_one_path_that_always_answers_401_among_others_costs_no_token_call_per_request() {
    let server = AuthorizationServer::start().await.expect("a server");
    let api =
        Origin::start(|request| RawReply::status(if request.target() == "/broken" { 401 } else { 200 }));
    let api = api.await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(
        server.token_url(),
        server.client_id(),
        server.client_secret(),
    );
    let client = HttpClient::builder(api.url())
        .with_token_auth(TokenManager::new(provider.build().expect("a provider")))
        .build()
        .expect("a client");
    for _ in 0..200 {
        assert_eq!(
            client.get("/broken").send().await.expect("an answer").status_code(),
            StatusCode::UNAUTHORIZED
        );
        assert!(client.get("/").send().await.expect("an answer").is_success());
    }
    assert!(server.token_calls() <= 16, "{} token calls", server.token_calls());
}

#[tokio::test]
async fn inv11_a_server_that_hands_out_the_rejected_token_again_is_not_asked_per_request() {
    let tokens = Origin::start(|_| RawReply::ok(r#"{"access_token":"the same"}"#)).await.expect("a server");
    let api = Origin::start(|_| RawReply::status(401)).await.expect("a server");
    let provider =
        ClientCredentialsTokenProvider::builder(format!("{}/token", tokens.url()), "client", "secret")
            .build();
    let client = HttpClient::builder(api.url())
        .with_token_auth(TokenManager::new(provider.expect("a provider")))
        .build()
        .expect("a client");
    for _ in 0..100 {
        assert_eq!(client.get("/").send().await.expect("an answer").status_code(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(api.requests().len(), 100, "nothing is replayed with the token that was rejected");
    assert!(tokens.requests().len() <= 4, "{} token calls", tokens.requests().len());
}

#[tokio::test]
async fn inv12_the_challenge_decides() {
    for (challenge, sends) in [
        (None, 2),
        (Some(r#"Bearer error="invalid_token""#), 2),
        (Some("Bearer"), 2),
        (Some(r#"Bearer error="insufficient_scope", scope="admin""#), 1),
        (Some(r#"Basic realm="x", Bearer error="insufficient_scope""#), 1),
    ] {
        let world = World::new(|auth| auth).await;
        world.api.always_reject(true);
        world.api.set_challenge(challenge.map(str::to_owned));
        let response = world.get("only").await.expect("an answer");
        assert_eq!(response.status_code(), StatusCode::UNAUTHORIZED);
        assert_eq!(world.api.sends_of("only"), sends, "{challenge:?}");
        assert_eq!(world.server.token_calls(), sends, "{challenge:?}");
    }
}

#[tokio::test]
async fn inv12_the_second_401_goes_to_the_caller_with_its_body() {
    let strategies: [fn(TokenAuth) -> TokenAuth; 2] = [
        |auth| auth.auth_retry_strategy(SimpleAuthRetryStrategy::new()),
        |auth| {
            auth.auth_retry_strategy(ConditionalAuthRetryStrategy::new(|response| {
                response
                    .json_or_none::<serde_json::Value>()
                    .is_some_and(|body| body["error"] == "invalid_token")
            }))
        },
    ];
    for strategy in strategies {
        let world = World::new(strategy).await;
        world.api.always_reject(true);
        let response = world.get("only").await.expect("an answer");
        assert_eq!(response.headers()["www-authenticate"], r#"Bearer error="invalid_token""#);
        let body: serde_json::Value = response.json().await.expect("a body");
        assert_eq!(body["error"], "invalid_token");
        assert_eq!(world.api.sends_of("only"), 2);
    }
}

#[tokio::test]
async fn a_condition_that_is_not_met_leaves_the_401_as_it_came() {
    for (body, sends) in
        [(r#"{"error":"other"}"#.to_owned(), 1), ("x".repeat(200_000), 1), (String::new(), 1)]
    {
        let reply = body.clone();
        let api =
            Origin::start(move |_| RawReply::status(401).with_body(reply.clone())).await.expect("a server");
        let server = AuthorizationServer::start().await.expect("a server");
        let provider = ClientCredentialsTokenProvider::builder(
            server.token_url(),
            server.client_id(),
            server.client_secret(),
        );
        let auth = TokenAuth::new(TokenManager::new(provider.build().expect("a provider")))
            .auth_retry_strategy(ConditionalAuthRetryStrategy::new(|response| {
                response
                    .json_or_none::<serde_json::Value>()
                    .is_some_and(|body| body["error"] == "token_expired")
            }));
        let client = HttpClient::builder(api.url()).with_token_auth(auth).build().expect("a client");
        let response = client.get("/").send().await.expect("an answer");
        assert_eq!(response.text().await.expect("a body"), body, "it must be whole");
        assert_eq!((api.requests().len(), server.token_calls()), (sends, 1));
    }
}

#[tokio::test]
async fn inv12_a_strategy_may_allow_more_each_time_with_another_token() {
    let world = World::new(|auth| {
        auth.auth_retry_strategy(
            ExponentialAuthRetryStrategy::new()
                .max_retries(3)
                .base_delay(Duration::from_millis(1_100))
                .multiplier(1.0)
                .jitter(false),
        )
    })
    .await;
    world.api.always_reject(true);
    world.get("only").await.expect("an answer");
    // The third replay waits until the manager renews again (2 s), which is longer than the strategy's delay.
    let sends = world.api.sends_of("only");
    assert_eq!((sends, world.server.token_calls()), (4, 4));
    assert_eq!(world.api.tokens_seen(), sends, "no token is sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv11_later_replays_of_many_requests_share_each_renewal() {
    const REQUESTS: usize = 200;
    let strategy = ExponentialAuthRetryStrategy::new().max_retries(3);
    let world = Arc::new(World::new(|auth| auth.auth_retry_strategy(strategy)).await);
    world.api.reject_first(2);
    // Race: hold all answers until every request has been sent with the first token.
    for id in 0..REQUESTS {
        world.api.hold(&id.to_string());
    }
    let requests: Vec<_> = (0..REQUESTS)
        .map(|id| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.get(&id.to_string()).await.expect("an answer").status_code() })
        })
        .collect();
    world.api.until_waiting(REQUESTS).await;
    world.api.release_all();
    for request in requests {
        assert_eq!(request.await.expect("no panic"), StatusCode::OK);
    }
    assert_eq!((world.server.token_calls(), world.api.tokens_seen()), (3, 3));
    assert!(world.api.max_sends_per_request() <= 3);
}

#[tokio::test]
async fn inv12_a_body_that_cannot_be_replayed_is_sent_once_and_the_token_is_renewed_all_the_same() {
    let world = World::new(|auth| auth).await;
    world.get("warm-up").await.expect("an answer");
    world.server.revoke_all();
    let stream = http_body_util::Full::new(bytes::Bytes::from_static(b"streamed"));
    let request = world.client.post("/users").header("x-request-id", "streamed");
    let response =
        request.body_stream(requestforge::reqwest::Body::wrap(stream)).send().await.expect("an answer");
    assert_eq!(response.status_code(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.api.sends_of("streamed"), 1);

    let request = world.client.post("/users").header("x-request-id", "buffered");
    let response = request.json(&serde_json::json!({"name": "x"})).send().await.expect("an answer");
    assert_eq!(response.status_code(), StatusCode::OK);
    assert_eq!((world.api.sends_of("buffered"), world.server.token_calls()), (1, 2));
}

#[tokio::test]
async fn a_replayed_body_arrives_whole() {
    let world = World::new(|auth| auth).await;
    world.get("warm-up").await.expect("an answer");
    world.server.revoke_all();
    let body = serde_json::json!({"text": "x".repeat(100_000)});
    let response = world.client.post("/echo").json(&body).send().await.expect("an answer");
    let echo: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(echo["body"].as_str().expect("a body")).expect("JSON"),
        body
    );
}

#[tokio::test]
async fn inv15_without_a_token_nothing_is_sent() {
    let world =
        World::new(|auth| auth.excluded_paths(["/health"]).excluded_path_patterns(["/public/*"])).await;
    world.server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    let error = world.get("only").await.expect_err("no token");
    assert!(error.is_authentication(), "{error:?}");
    assert!(error.authentication_error().is_some_and(requestforge::AuthenticationError::is_transient));
    assert_eq!(world.api.requests(), 0);

    // An excluded path needs no token, and gets none.
    for path in ["/health", "/public/a/b", "/health?verbose=1"] {
        assert!(world.client.get(path).send().await.expect("an answer").is_success(), "{path}");
    }
    assert_eq!((world.api.open_requests(), world.api.open_requests_with_credentials()), (3, 0));
}

#[tokio::test]
async fn a_failed_renewal_is_the_error_that_the_caller_sees() {
    let clock = Arc::new(ManualClock::new());
    let world = World::at(Arc::clone(&clock) as _, |auth| auth).await;
    world.get("warm-up").await.expect("an answer");
    world.server.revoke_all();
    world.server.set_failing(Some(StatusCode::BAD_GATEWAY));
    let error = world.get("only").await.expect_err("no other token");
    assert!(error.is_authentication(), "{error:?}");
    assert_eq!(world.api.sends_of("only"), 1);
    world.server.set_failing(None);
    clock.advance(Duration::from_secs(1));
    assert!(world.get("mended").await.expect("an answer").is_success());
    assert_eq!(world.api.sends_of("mended"), 1);
}

#[tokio::test]
async fn inv11_two_clients_over_one_storage_renew_once() {
    let world = World::new(|auth| auth).await;
    let ids: HashSet<_> = [world.manager.get_token().await.expect("a token").id()].into();
    world.get("warm-up").await.expect("an answer");
    world.server.revoke_all();
    let (one, two) = tokio::join!(world.get("one"), world.get("two"));
    assert!(one.expect("an answer").is_success() && two.expect("an answer").is_success());
    assert!(!ids.contains(&world.manager.get_token().await.expect("a token").id()));
    assert_eq!(world.server.token_calls(), 2);
}

#[tokio::test]
async fn a_header_and_prefix_of_ones_own_carry_the_renewed_token_too() {
    let server = AuthorizationServer::start().await.expect("a server");
    let api = Origin::start(|_| RawReply::status(401)).await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(
        server.token_url(),
        server.client_id(),
        server.client_secret(),
    );
    let auth = TokenAuth::new(TokenManager::new(provider.build().expect("a provider")))
        .auth_header_name("X-Auth")
        .auth_header_prefix("Token");
    let client = HttpClient::builder(api.url()).with_token_auth(auth).build().expect("a client");
    client.get("/").send().await.expect("an answer");
    let sent: Vec<_> =
        api.requests().iter().map(|request| request.header("x-auth").expect("a token")).collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|value| value.strip_prefix("Token ").is_some_and(|token| server.issued(token))));
    assert_ne!(sent[0], sent[1]);
}

#[tokio::test]
async fn a_bare_provider_is_a_source_whose_token_is_kept_and_renewed() {
    let server = AuthorizationServer::start().await.expect("a server");
    let api = Api::start(&server).await.expect("an API");
    let provider = ClientCredentialsTokenProvider::builder(
        server.token_url(),
        server.client_id(),
        server.client_secret(),
    );
    let client = HttpClient::builder(api.base_url())
        .with_token_auth(provider.build().expect("a provider"))
        .build()
        .expect("a client");
    for (accepted, token_calls) in [(1, 1), (2, 1)] {
        client.get("/users").send().await.expect("an answer").error_for_status().expect("let in");
        assert_eq!((api.accepted(), server.token_calls()), (accepted, token_calls));
    }
    server.revoke_all();
    client.get("/users").send().await.expect("an answer").error_for_status().expect("let in again");
    assert_eq!((api.accepted(), api.rejected(), server.token_calls()), (3, 1, 2));
}
