use std::sync::atomic::{AtomicUsize, Ordering};

use forge_tests::{AuthorizationServer, Origin, RawReply};
use http_body_util::Full;
use requestforge::middleware::AuthMiddleware;
use requestforge::middleware::reqwest_middleware::{self, ClientBuilder, ClientWithMiddleware, Error};
use requestforge::reqwest::{self, redirect::Policy};
use requestforge::{
    AuthenticationError, ConditionalAuthRetryStrategy, StaticTokenSource, TokenAuth, TokenData, async_trait,
};

use super::{Answer, Body, Failure, Mount, Request};
use crate::world::manager;

/// A client of reqwest-middleware. It does not follow redirects: then the middleware can promise most.
#[derive(Debug)]
pub(crate) struct Middleware {
    #[expect(dead_code, reason = "`Debug` shows it, as that of the client does not")]
    auth: AuthMiddleware,
    client: ClientWithMiddleware,
}

impl Mount for Middleware {
    async fn new(auth: TokenAuth, origin: &str) -> Self {
        following(Policy::none(), auth, origin)
    }

    async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let mut builder = self.client.request(request.method, request.url);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        builder = match request.body {
            Body::Empty => builder,
            Body::Whole(body) => builder.body(body),
            Body::Stream(body) => builder.body(reqwest::Body::wrap(Full::new(body))),
        };
        let response = builder.send().await.map_err(failure)?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.text().await.map_err(|error| failure(error.into()))? })
    }
}

fn following(redirects: Policy, auth: TokenAuth, origin: &str) -> Middleware {
    let auth = AuthMiddleware::with_token_auth(auth).origin(origin).build().expect("a middleware");
    let client = reqwest::Client::builder().redirect(redirects).build().expect("a client");
    Middleware { client: ClientBuilder::new(client).with(auth.clone()).build(), auth }
}

fn failure(error: Error) -> Failure {
    let authentication = match &error {
        Error::Middleware(error) => error.downcast_ref::<AuthenticationError>(),
        Error::Reqwest(_) => None,
    };
    let authentication = authentication.map(ToString::to_string);
    Failure::new(error, authentication)
}

#[tokio::test]
async fn what_the_documentation_says_of_redirects_is_so() {
    let foreign = Origin::start_at([127, 0, 0, 2].into(), |_| RawReply::ok("")).await.expect("a server");
    let to = format!("{}/x", foreign.url());
    let home = Origin::start(move |_| RawReply::redirect(302, &to)).await.expect("a server");
    for (name, follows) in [("authorization", false), ("x-whatever", true)] {
        let source = StaticTokenSource::new(TokenData::new("canary")).expect("a token");
        let auth = TokenAuth::new(source).auth_header_name(name);
        let middleware = following(Policy::default(), auth, &home.url());
        middleware.send(Request::get(home.url())).await.expect("an answer");
        let last = foreign.requests().pop().expect("a request");
        assert_eq!(last.header(name).is_some(), follows, "{name}");
    }
}

#[tokio::test]
async fn inv11_what_a_foreign_server_says_behind_a_redirect_is_not_about_the_token() {
    for status in [401, 200] {
        let foreign = Origin::start_at([127, 0, 0, 2].into(), move |_| RawReply::status(status)).await;
        let foreign = foreign.expect("a server");
        let to = format!("{}/x", foreign.url());
        let home = Origin::start(move |_| RawReply::redirect(302, &to)).await.expect("a server");
        let server = AuthorizationServer::start().await.expect("a server");
        let manager = manager(&server);
        let auth = TokenAuth::new(manager.clone());
        let middleware = following(Policy::default(), auth, &home.url());
        let answer = middleware.send(Request::get(home.url())).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!((home.requests().len(), foreign.requests().len(), server.token_calls()), (1, 1, 1));
        assert!(!manager.get_token().await.expect("a token").was_accepted(), "{status}");
    }
}

/// Answers 401 once, without a server.
struct Mock(AtomicUsize);

#[async_trait]
impl reqwest_middleware::Middleware for Mock {
    async fn handle(
        &self,
        _: reqwest::Request,
        _: &mut http::Extensions,
        _: reqwest_middleware::Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let status = if self.0.fetch_add(1, Ordering::SeqCst) == 0 { 401 } else { 200 };
        Ok(http::Response::builder().status(status).body("").expect("an answer").into())
    }
}

#[tokio::test]
async fn an_answer_that_says_of_no_url_is_judged_too() {
    let server = AuthorizationServer::start().await.expect("a server");
    let auth = AuthMiddleware::with_token_auth(manager(&server)).origin("http://api.example.com");
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(auth.build().expect("a middleware"))
        .with(Mock(AtomicUsize::new(0)))
        .build();
    let answer = client.get("http://api.example.com/").send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), server.token_calls()), (200, 2));
}

#[tokio::test]
async fn an_answer_that_was_looked_into_still_says_where_it_is_from() {
    let api = Origin::start(|_| RawReply::status(401)).await.expect("a server");
    let source = StaticTokenSource::new(TokenData::new("canary")).expect("a token");
    let auth = TokenAuth::new(source).auth_retry_strategy(ConditionalAuthRetryStrategy::new(|_| false));
    let middleware = following(Policy::none(), auth, &api.url());
    let url = format!("{}/users", api.url());
    let answer = middleware.client.get(&url).send().await.expect("an answer");
    assert_eq!(answer.url().as_str(), url);
}
