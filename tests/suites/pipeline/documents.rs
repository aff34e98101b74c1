//! The examples of the documents, as literal as Rust allows, against a server that refuses wrong and missing
//! credentials.

use std::time::Duration;

use forge_tests::{StatusCode, Step};
use requestforge::pipeline::HttpMethod;
use requestforge::{
    BodyTokenFetcher, HttpClient, HttpClientConfigBuilder, PipelineTokenProvider, TokenFetchPipeline,
    TokenManager,
};

use crate::world::World;

over_each_storage![
    the_basic_example_passes_where_the_user_needs_no_app_token,
    the_basic_example_is_refused_where_the_user_needs_one_and_says_at_which_step,
    the_advanced_example_passes,
    wrong_credentials_are_refused_and_the_error_says_at_which_step,
];

/// Step 1 of both examples, with this secret.
fn app_token_fetcher(world: &World, client_secret: &str) -> BodyTokenFetcher {
    BodyTokenFetcher::builder("app_token", world.server.base_url(), "/v1/app/token")
        .method(HttpMethod::Post)
        .request_data([
            ("grant_type", "client_credentials"),
            ("client_id", world.server.client_id()),
            ("client_secret", client_secret),
        ])
        .token_field("access_token")
        .expires_in_field("expires_in")
        .ttl(Duration::from_secs(60 * 60))
        .build()
        .expect("a step")
}

/// Step 2 of the basic example.
fn basic_user_token_fetcher(world: &World) -> BodyTokenFetcher {
    BodyTokenFetcher::builder("user_token", world.server.base_url(), "/v1/user/token")
        .method(HttpMethod::Post)
        .request_data([("username", world.server.username()), ("password", world.server.password())])
        .token_field("access_token")
        .ttl(Duration::from_secs(30 * 60))
        .depends_on(["app_token"])
        .build()
        .expect("a step")
}

/// Step 2 of the advanced example: the same with the app token in a header.
fn advanced_user_token_fetcher(world: &World, password: &str) -> BodyTokenFetcher {
    BodyTokenFetcher::builder("user_token", world.server.base_url(), "/v1/user/token")
        .request_data([("username", world.server.username()), ("password", password)])
        .depends_on(["app_token"])
        .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))])
        .build()
        .expect("a step")
}

/// The rest of both examples.
fn client(world: &World, steps: [BodyTokenFetcher; 2]) -> HttpClient {
    let pipeline = TokenFetchPipeline::builder()
        .steps(steps)
        .storage(world.storage.clone())
        .cache_key_prefix("myapp")
        .build()
        .expect("a pipeline");
    let provider = PipelineTokenProvider::new(pipeline, "myapp");
    let token_manager = TokenManager::new(provider);
    let config = HttpClientConfigBuilder::new()
        .with_base_url(world.server.base_url())
        .with_token_auth(token_manager)
        .build()
        .expect("a configuration");
    HttpClient::new(config).expect("a client")
}

async fn the_basic_example_passes_where_the_user_needs_no_app_token(world: World) {
    world.server.want_app_token(false);
    let steps = [app_token_fetcher(&world, world.server.client_secret()), basic_user_token_fetcher(&world)];
    let client = client(&world, steps);
    for _ in 0..2 {
        assert!(client.get("/user/profile").send().await.expect("an answer").is_success());
    }
    assert_eq!((world.server.all_calls(), world.server.accepted()), ([1, 0, 1, 0], 2));
}

async fn the_basic_example_is_refused_where_the_user_needs_one_and_says_at_which_step(world: World) {
    let steps = [app_token_fetcher(&world, world.server.client_secret()), basic_user_token_fetcher(&world)];
    let error = client(&world, steps).get("/user/profile").send().await.expect_err("no user token");
    assert_refused_at("user_token", &error);
    assert_eq!((world.server.refused(Step::App), world.server.requests()), (0, 0));
}

async fn the_advanced_example_passes(world: World) {
    let user = advanced_user_token_fetcher(&world, world.server.password());
    let client = client(&world, [app_token_fetcher(&world, world.server.client_secret()), user]);
    for _ in 0..2 {
        assert!(client.get("/user/profile").send().await.expect("an answer").is_success());
    }
    assert_eq!((world.server.all_calls(), world.server.accepted()), ([1, 0, 1, 0], 2));
    assert_eq!(world.server.refused(Step::User), 0);
}

async fn wrong_credentials_are_refused_and_the_error_says_at_which_step(world: World) {
    let server = &world.server;
    let user = advanced_user_token_fetcher(&world, server.password());
    let error = client(&world, [app_token_fetcher(&world, "wrong"), user]).get("/user/profile").send().await;
    assert_refused_at("app_token", &error.expect_err("a wrong secret"));
    assert_eq!((server.all_calls(), server.refused(Step::App)), ([1, 0, 0, 0], 1));

    let user = advanced_user_token_fetcher(&world, "wrong");
    let app = app_token_fetcher(&world, server.client_secret());
    let error = client(&world, [app, user]).get("/user/profile").send().await;
    assert_refused_at("user_token", &error.expect_err("a wrong password"));
    assert_eq!((server.requests(), server.refused(Step::App)), (0, 1));
}

fn assert_refused_at(step: &str, error: &requestforge::HttpClientError) {
    let cause = error.authentication_error().expect("no token could be had");
    assert_eq!(cause.status(), Some(StatusCode::UNAUTHORIZED));
    assert!(!cause.is_transient(), "{cause:?}");
    let text = cause.to_string();
    assert!(text.contains(&format!("`{step}`")) && text.contains("myapp"), "{text}");
}
