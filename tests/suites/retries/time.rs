//! The total time-out. Whether it came in time is not measured: without it, nothing here would end.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply};
use requestforge::{
    ClientCredentialsTokenProvider, HttpClient, SimpleAuthRetryStrategy, TokenAuth, TokenManager,
};

use super::world::{always, build, in_time, in_turn, quickly, retrying};

/// Longer than any test may take.
const EVER: Duration = Duration::from_secs(3_600);
/// Not long, and enough for a request on a machine under load.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_back_off_that_would_pass_the_total_time_out_is_not_begun() {
    let origin = always(RawReply::status(503).with_body("down")).await;
    let strategy = quickly().delay(EVER);
    let client = build(retrying(&origin).with_retry_strategy(strategy).with_total_timeout(SOON * 30));
    let response = in_time(client.get("/").send()).await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (503, 1));
    assert_eq!(response.text().await.expect("a body"), "down");

    let origin = always(RawReply::hang_up()).await;
    let client = build(retrying(&origin).with_retry_strategy(strategy).with_total_timeout(SOON * 30));
    let error = in_time(client.get("/").send()).await.expect_err("no answer");
    assert!(!error.is_timeout() && !error.is_max_retries(), "the error as it came: {error:?}");
}

#[tokio::test]
async fn the_total_time_out_bounds_attempts() {
    let origin = always(RawReply::silence()).await;
    let client = build(HttpClient::builder(origin.url()).with_timeout(EVER).with_total_timeout(SOON));
    let error = in_time(client.get("/").send()).await.expect_err("no answer");
    assert!(error.is_timeout() && !error.is_max_retries(), "{error:?}");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn the_total_time_out_bounds_retries() {
    let origin = always(RawReply::silence()).await;
    let builder = retrying(&origin).with_retry_strategy(quickly().max_retries(u32::MAX));
    let client = build(builder.with_timeout(SOON / 20).with_total_timeout(SOON));
    let error = in_time(client.get("/").send()).await.expect_err("no answer");
    assert!(error.is_timeout() && error.is_max_retries(), "{error:?}");
}

#[tokio::test]
async fn the_total_time_out_bounds_redirects() {
    let origin = always(RawReply::redirect(302, "/again")).await;
    let builder = HttpClient::builder(origin.url()).with_max_redirects(u32::MAX);
    let client = build(builder.with_timeout(EVER).with_total_timeout(SOON));
    let error = in_time(client.get("/").send()).await.expect_err("a loop");
    assert!(error.is_timeout(), "{error:?}");
    assert!(origin.requests().len() > 1);
}

#[tokio::test]
async fn a_request_may_have_a_total_time_out_of_its_own() {
    let origin = always(RawReply::silence()).await;
    let builder = HttpClient::builder(origin.url()).with_timeout(EVER);
    for client in [build(builder), build(HttpClient::builder(origin.url()).with_total_timeout(EVER))] {
        let request = client.get("/").total_timeout(SOON / 2);
        assert!(in_time(request.send()).await.expect_err("no answer").is_timeout());
    }
    // One that no clock can express is none.
    origin.set_reply(|_| RawReply::ok(""));
    let client = build(HttpClient::builder(origin.url()));
    assert!(client.get("/").total_timeout(Duration::MAX).send().await.expect("an answer").is_success());
}

#[tokio::test]
async fn the_body_is_read_within_the_time_of_its_attempt() {
    // The answer comes at once; the body after the total time-out.
    let origin = Arc::new(Origin::start(|_| RawReply::ok("late")).await.expect("a server"));
    let client = build(HttpClient::builder(origin.url()).with_total_timeout(SOON));
    let response = client.get("/").send().await.expect("an answer");
    tokio::time::sleep(SOON).await;
    assert_eq!(response.text().await.expect("a body"), "late");
}

struct World {
    server: AuthorizationServer,
    api: Api,
    manager: TokenManager,
}

impl World {
    async fn new() -> Self {
        let server = AuthorizationServer::start().await.expect("a server");
        let api = Api::start(&server).await.expect("an API");
        let provider = ClientCredentialsTokenProvider::builder(
            server.token_url(),
            server.client_id(),
            server.client_secret(),
        );
        let manager = TokenManager::new(provider.build().expect("a provider"));
        Self { server, api, manager }
    }

    fn client(&self, configure: impl FnOnce(TokenAuth) -> TokenAuth) -> HttpClient {
        let auth = configure(TokenAuth::new(self.manager.clone()));
        build(HttpClient::builder(self.api.base_url()).with_token_auth(auth).with_total_timeout(SOON))
    }
}

#[tokio::test]
async fn the_total_time_out_bounds_the_wait_for_a_token() {
    let world = World::new().await;
    world.server.set_delay(Duration::from_secs(8));
    let error = in_time(world.client(|auth| auth).get("/").send()).await.expect_err("no token yet");
    assert!(error.is_timeout() && !error.is_authentication(), "{error:?}");
    assert_eq!(world.api.requests(), 0, "inv15");
}

#[tokio::test]
async fn the_total_time_out_bounds_the_renewal_of_a_rejected_token() {
    let world = World::new().await;
    world.manager.get_token().await.expect("a token");
    world.server.revoke_all();
    world.server.set_delay(Duration::from_secs(8));
    let error = in_time(world.client(|auth| auth).get("/").send()).await.expect_err("no other token yet");
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(world.api.rejected(), 1);
}

#[tokio::test]
async fn a_replay_that_would_come_too_late_is_not_begun() {
    let world = World::new().await;
    world.manager.get_token().await.expect("a token");
    world.server.revoke_all();
    let strategy = SimpleAuthRetryStrategy::new().delay(EVER);
    let client = world.client(|auth| auth.auth_retry_strategy(strategy));
    let response = in_time(client.get("/").send()).await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (401, 1));
    assert_eq!(world.server.token_calls(), 2, "the next request has the new one");
}

#[tokio::test]
async fn elapsed_counts_the_back_offs() {
    let origin = in_turn([RawReply::status(503)]).await;
    let delay = Duration::from_millis(50);
    let client = build(retrying(&origin).with_retry_strategy(quickly().delay(delay)));
    let response = client.get("/").send().await.expect("an answer");
    assert!(response.elapsed() >= delay, "{:?}", response.elapsed());
}
