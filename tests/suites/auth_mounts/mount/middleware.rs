use forge_tests::{Origin, RawReply};
use http_body_util::Full;
use requestforge::reqwest::{self, redirect::Policy};
use requestforge::reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error};
use requestforge::{AuthMiddleware, AuthenticationError, StaticTokenSource, TokenAuth, TokenData};

use super::{Answer, Body, Failure, Mount, Request};

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
