//! The document's examples about the client, to the letter unless Rust needs another one. They run against
//! servers that refuse wrong and missing credentials.

#![allow(clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply};
use requestforge::auth::ExaminedResponse;
use requestforge::testing::ManualClock;
use requestforge::{
    AuthMethod, AuthenticationError, ClientCredentialsTokenProvider, ConditionalAuthRetryStrategy,
    ExponentialAuthRetryStrategy, HttpClient, HttpClientConfigBuilder, HttpClientError, InMemoryTokenStorage,
    PasswordGrantTokenProvider, SimpleAuthRetryStrategy, TokenAuth, TokenManager, TokenProvider,
};
use serde_json::Value;

/// An API, and the server whose tokens it wants.
struct World {
    server: AuthorizationServer,
    api: Api,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new() -> Self {
        let server = AuthorizationServer::start().await.expect("a server");
        let api = Api::start(&server).await.expect("a server");
        Self { server, api, clock: Arc::new(ManualClock::new()) }
    }

    /// The provider of the document's basic setup.
    fn provider(&self) -> impl TokenProvider + 'static {
        let Self { server, clock, .. } = self;
        let (url, id, secret) = (server.token_url(), server.client_id(), server.client_secret());
        let provider = ClientCredentialsTokenProvider::builder(url, id, secret)
            .service_name("example-api")
            .scope("read write")
            .clock(Arc::clone(clock) as _);
        provider.build().expect("a provider")
    }

    fn token_manager(&self, provider: impl TokenProvider + 'static) -> TokenManager {
        let manager = TokenManager::builder(provider).storage(InMemoryTokenStorage::new());
        manager.clock(Arc::clone(&self.clock) as _).build().expect("a manager")
    }

    fn client(&self, auth: impl Into<TokenAuth>) -> HttpClient {
        let config = HttpClientConfigBuilder::new().with_base_url(self.api.base_url()).with_token_auth(auth);
        HttpClient::new(config.build().expect("settings")).expect("a client")
    }
}

async fn status(client: &HttpClient, path: &str) -> u16 {
    client.get(path).send().await.expect("an answer").status_code().as_u16()
}

#[tokio::test]
async fn bearer_token_api_key_and_basic_authentication() {
    for (configure, name, value) in [
        (
            (|builder| builder.with_bearer_token("your-api-token-here"))
                as fn(HttpClientConfigBuilder) -> HttpClientConfigBuilder,
            "Authorization",
            "Bearer your-api-token-here",
        ),
        (|builder| builder.with_api_key_header("your-api-key", "X-API-Key"), "X-API-Key", "your-api-key"),
        (|builder| builder.with_api_key("your-api-key"), "X-API-Key", "your-api-key"),
        (|builder| builder.with_basic_auth("user", "pass"), "Authorization", "Basic dXNlcjpwYXNz"),
    ] {
        let api = Origin::start(move |request| {
            let is_known = request.header(name).as_deref() == Some(value);
            RawReply::status(if is_known { 200 } else { 401 })
        });
        let api = api.await.expect("a server");
        let builder = HttpClientConfigBuilder::new().with_base_url(api.url());
        let client = HttpClient::new(configure(builder).build().expect("settings")).expect("a client");
        assert_eq!(status(&client, "/protected-resource").await, 200, "{value}");
    }
}

#[tokio::test]
async fn basic_setup() {
    let world = World::new().await;
    let token_manager = world.token_manager(world.provider());
    let client = world.client(TokenAuth::new(token_manager).excluded_paths(["/health", "/public"]));

    // The first request fetches and caches the token.
    assert_eq!(status(&client, "/protected-resource").await, 200);
    assert_eq!(world.server.token_calls(), 1);
    // Subsequent ones reuse it.
    assert_eq!(status(&client, "/another-resource").await, 200);
    assert_eq!(world.server.token_calls(), 1);
    // The manager refreshes it when it expires.
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(status(&client, "/resource").await, 200);
    assert_eq!(world.server.token_calls(), 2);
    // The same after a revocation.
    world.server.revoke_all();
    assert_eq!(status(&client, "/resource").await, 200);
    assert_eq!((world.server.token_calls(), world.api.rejected()), (3, 1));
}

#[tokio::test]
async fn token_providers() {
    let world = World::new().await;
    let server = &world.server;
    let (url, id, secret) = (server.token_url(), server.client_id(), server.client_secret());
    let builder = || ClientCredentialsTokenProvider::builder(&url, id, secret).service_name("my-api");
    let body = builder().scope("read write delete").grant_type("client_credentials");
    let body = body.auth_method(AuthMethod::Body).build().expect("a provider");
    let header = builder().auth_method(AuthMethod::Header).build().expect("a provider");
    let (user, password) = (server.username(), server.password());
    let password = PasswordGrantTokenProvider::builder(&url, id, secret, user, password)
        .service_name("my-api")
        .scope("profile email")
        .build()
        .expect("a provider");
    for manager in [TokenManager::new(body), TokenManager::new(header), TokenManager::new(password)] {
        assert_eq!(status(&world.client(manager), "/protected-resource").await, 200);
    }
    assert_eq!(server.calls_by_grant("client_credentials"), 2);
    assert_eq!(server.calls_by_grant("password"), 1);
}

#[tokio::test]
async fn simple_retry_and_exponential_backoff() {
    let simple = SimpleAuthRetryStrategy::new().max_retries(1).delay(Duration::from_millis(500));
    let exponential = ExponentialAuthRetryStrategy::new()
        .max_retries(3)
        .base_delay(Duration::from_millis(500))
        .max_delay(Duration::from_secs(5))
        .multiplier(2.0)
        .jitter(true);
    let world = World::new().await;
    let auth = || TokenAuth::new(world.token_manager(world.provider()));
    for auth in [auth().auth_retry_strategy(simple), auth().auth_retry_strategy(exponential)] {
        let client = world.client(auth);
        assert_eq!(status(&client, "/users").await, 200);
        world.server.revoke_all();
        let response = client.get("/users").send().await.expect("an answer");
        assert_eq!((response.status_code().as_u16(), response.attempts()), (200, 2));
        assert!(response.elapsed() >= Duration::from_millis(250), "{:?}", response.elapsed());
    }
}

/// Only retry if the error is `token_expired`.
fn should_retry(response: &ExaminedResponse<'_>) -> bool {
    let data = response.json_or_none::<Value>();
    data.is_some_and(|data| data["error"] == "token_expired")
}

#[tokio::test]
async fn custom_retry_logic() {
    for (error, attempts) in [("token_expired", 2), ("account_closed", 1)] {
        let world = World::new().await;
        let manager = world.token_manager(world.provider());
        let first = manager.get_token().await.expect("a token").token().authorization_header();
        let api = Origin::start(move |request| match request.header("authorization") {
            Some(sent) if sent != first => RawReply::ok("[]"),
            _ => RawReply::status(401).with_body(format!(r#"{{"error":"{error}"}}"#)),
        });
        let api = api.await.expect("a server");
        let auth_retry = ConditionalAuthRetryStrategy::new(should_retry).max_retries(2);
        let auth = TokenAuth::new(manager).auth_retry_strategy(auth_retry);
        let client = HttpClient::builder(api.url()).with_token_auth(auth).build().expect("a client");
        assert_eq!(client.get("/users").send().await.expect("an answer").attempts(), attempts, "{error}");
    }
}

#[tokio::test]
async fn path_exclusion() {
    let world = World::new().await;
    let auth = || TokenAuth::new(world.token_manager(world.provider()));
    let paths = auth().excluded_paths(["/health", "/status", "/public/docs"]);
    let patterns = auth().excluded_paths(["/health"]);
    let patterns = patterns.excluded_path_patterns(["/public/*", "/docs/*", "*/health"]);
    let paths = world.client(paths);
    let patterns = world.client(patterns);
    for (client, path, expected) in [
        (&paths, "/health", 200),
        (&paths, "/public/docs", 200),
        (&paths, "/status", 401),
        (&patterns, "/health", 200),
        (&patterns, "/public/a/b", 200),
        (&patterns, "/docs/a", 401),
        (&patterns, "/a/b/health", 401),
    ] {
        // The API wants a token in some of these places, and the examples do not send it there.
        assert_eq!(status(client, path).await, expected, "{path}");
    }
    assert_eq!((world.server.token_calls(), world.api.open_requests_with_credentials()), (0, 0));
    assert_eq!(status(&paths, "/public/other").await, 200);
    assert_eq!(status(&patterns, "/status").await, 200);
    assert_eq!((world.server.token_calls(), world.api.open_requests_with_credentials()), (2, 1));
}

#[tokio::test]
async fn handle_auth_errors() {
    let world = World::new().await;
    let (url, id) = (world.server.token_url(), world.server.client_id());
    let provider = ClientCredentialsTokenProvider::builder(url, id, "wrong").service_name("example-api");
    let client = world.client(TokenManager::new(provider.build().expect("a provider")));
    let error: HttpClientError = client.get("/protected").send().await.expect_err("a wrong secret");
    let failed = error.authentication_error().map(AuthenticationError::service_name);
    assert_eq!((error.is_authentication(), failed), (true, Some("example-api")));
    assert_eq!(world.api.requests(), 0);
}
