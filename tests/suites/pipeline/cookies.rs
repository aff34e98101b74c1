//! Sessions in cookies: a step reads one, and a later step or a client sends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_tests::{Origin, RawReply, RecordedRequest};
use requestforge::{
    BodyTokenFetcher, FetchContext, HeaderTokenFetcher, HttpClient, PipelineTokenProvider, ServiceConfig,
    TokenAuth, TokenFetchPipeline, TokenManager, blocking,
};
use serde_json::json;

/// An API behind a load balancer that sets a cookie of its own. Each login begins another session. All other
/// paths need the cookie of the last session.
async fn shop() -> (Origin, Arc<AtomicUsize>) {
    let logins = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&logins);
    let shop = Origin::start(move |request| reply(request, &counted)).await.expect("a server");
    (shop, logins)
}

fn reply(request: &RecordedRequest, logins: &AtomicUsize) -> RawReply {
    if request.target() == "/login" {
        let session = logins.fetch_add(1, Ordering::SeqCst) + 1;
        return RawReply::ok("welcome")
            .with_header("Set-Cookie", "route=node1; Path=/")
            .with_header("Set-Cookie", "JSESSIONID=; Path=/old; Max-Age=0")
            .with_header("Set-Cookie", format!("JSESSIONID=s{session}; Path=/; HttpOnly"));
    }
    let session = format!("JSESSIONID=s{}", logins.load(Ordering::SeqCst));
    match (request.target(), request.header("cookie").as_deref()) {
        (_, Some(cookie)) if cookie != session => RawReply::status(401),
        ("/ticket", Some(_)) => RawReply::ok(r#"{"access_token":"ticket"}"#),
        (_, Some(_)) => RawReply::ok("goods"),
        _ => RawReply::status(401),
    }
}

fn login(shop: &Origin) -> HeaderTokenFetcher {
    let login = HeaderTokenFetcher::builder("session", shop.url(), "/login");
    login.request_data([("user", "u"), ("password", "p")]).cookie("JSESSIONID").build().expect("a step")
}

fn sessions(shop: &Origin) -> TokenManager {
    let pipeline = TokenFetchPipeline::builder().step(login(shop)).build().expect("a pipeline");
    TokenManager::new(PipelineTokenProvider::new(pipeline, "shop"))
}

fn auth(sessions: TokenManager) -> TokenAuth {
    TokenAuth::new(sessions).auth_cookie("JSESSIONID")
}

#[tokio::test]
async fn a_client_sends_the_session_as_its_cookie_and_logs_in_again_after_a_401() {
    let (shop, logins) = shop().await;
    let client = HttpClient::builder(shop.url()).with_token_auth(auth(sessions(&shop))).build();
    let client = client.expect("a client");
    for (login, session) in [(1, "JSESSIONID=s1"), (1, "JSESSIONID=s1")] {
        let goods = client.get("/goods").send().await.expect("an answer").text().await;
        assert_eq!((goods.expect("a body").as_str(), logins.load(Ordering::SeqCst)), ("goods", login));
        let sent = shop.requests().pop().expect("a request");
        assert_eq!((sent.header("cookie").as_deref(), sent.header("authorization")), (Some(session), None));
    }
    // Another client logs in, which ends this session.
    logins.fetch_add(1, Ordering::SeqCst);
    let goods = client.get("/goods").send().await.expect("an answer");
    assert!(goods.is_success() && goods.attempts() == 2);
    let sent = shop.requests().pop().expect("a request");
    assert_eq!(sent.header("cookie").as_deref(), Some("JSESSIONID=s3"));
}

#[tokio::test]
async fn a_client_of_a_configuration_sends_the_session_as_its_cookie() {
    let (shop, _) = shop().await;
    let config = json!({ "base_url": shop.url(), "timeout": "10s" });
    let config: ServiceConfig = serde_json::from_value(config).expect("a service");
    let builder = config.client_builder().expect("a builder");
    let client = builder.with_token_auth(auth(sessions(&shop))).build().expect("a client");
    assert!(client.get("/goods").send().await.expect("an answer").is_success());
}

#[test]
fn a_blocking_client_sends_the_session_as_its_cookie() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (shop, _) = runtime.block_on(shop());
    let client = blocking::HttpClient::builder(shop.url()).with_token_auth(auth(sessions(&shop))).build();
    assert!(client.expect("a client").get("/goods").send().expect("an answer").is_success());
}

#[tokio::test]
async fn a_later_step_sends_the_session_of_an_earlier_one() {
    let (shop, logins) = shop().await;
    let jsessionid = |context: &FetchContext| {
        context.get_token("session").map(|session| session.cookie_header("JSESSIONID"))
    };
    let ticket = BodyTokenFetcher::builder("ticket", shop.url(), "/ticket")
        .depends_on(["session"])
        .request_headers_with(move |context| [("Cookie", jsessionid(context))])
        .build()
        .expect("a step");
    let pipeline = TokenFetchPipeline::builder().step(login(&shop)).step(ticket).build().expect("a pipeline");
    assert_eq!(pipeline.execute(false).await.expect("a token").access_token(), "ticket");
    // The session has ended, so the API refuses the step, and the pipeline logs in again.
    pipeline.invalidate_step("ticket").await.expect("forgotten");
    logins.fetch_add(1, Ordering::SeqCst);
    assert_eq!(pipeline.execute(false).await.expect("a token").access_token(), "ticket");
    assert_eq!(logins.load(Ordering::SeqCst), 3);
}
