use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use forge_tests::{Origin, RawReply};
use http_body_util::{BodyExt, Either, Full};
use hyper_util::client::legacy::Error as ClientError;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use requestforge::tower::{AuthLayer, AuthLayerBuilder, AuthService, AuthServiceError, grpc_verdict};
use requestforge::{TokenAuth, TokenData, token_source_fn};
use tower::{Layer as _, ServiceExt};

use super::{Answer, Body, Failure, Mount, Request};

/// The client of hyper, which follows no redirects.
#[derive(Debug)]
pub(crate) struct Layer(AuthService<HyperClient, CopyBody>);

type HyperClient = hyper_util::client::legacy::Client<HttpConnector, SentBody>;
/// A body that the layer may copy, and one that it must not copy.
type SentBody = Either<Full<Bytes>, Full<Bytes>>;
type CopyBody = fn(&SentBody) -> Option<SentBody>;

impl Mount for Layer {
    /// The layer gets bodies of any type.
    const SHOWS_BODIES: bool = false;

    async fn new(auth: TokenAuth, origin: &str) -> Self {
        over_hyper(AuthLayer::with_token_auth(auth).origin(origin))
    }

    async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let mut builder = http::Request::builder().method(request.method).uri(request.url);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let request = builder.body(match request.body {
            Body::Empty => Either::Left(Full::default()),
            Body::Whole(body) => Either::Left(Full::new(body)),
            Body::Stream(body) => Either::Right(Full::new(body)),
        });
        let answer = self.0.clone().oneshot(request.expect("a request")).await.map_err(failure)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| Failure::new(error, None))?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

fn over_hyper(auth: AuthLayerBuilder) -> Layer {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    Layer(auth.copy_body_with(copy as CopyBody).build().expect("a layer").layer(client))
}

fn copy(body: &SentBody) -> Option<SentBody> {
    match body {
        Either::Left(whole) => Some(Either::Left(whole.clone())),
        Either::Right(_) => None,
    }
}

fn failure(error: AuthServiceError<ClientError>) -> Failure {
    let authentication = match &error {
        AuthServiceError::Authentication(error) => Some(error.to_string()),
        _ => None,
    };
    Failure::new(error, authentication)
}

#[tokio::test]
async fn status_16_of_grpc_is_renewed_and_replayed_if_it_is_asked_for() {
    let api = Origin::start(|request| {
        let status = if request.header("authorization").as_deref() == Some("Bearer t1") { "16" } else { "0" };
        RawReply::ok("").with_header("grpc-status", status)
    });
    let api = api.await.expect("a server");
    for (judges, status, sends) in [(false, "16", 1), (true, "0", 2)] {
        api.clear();
        let fetches = Arc::new(AtomicUsize::new(0));
        let source = token_source_fn(move || {
            let token = format!("t{}", fetches.fetch_add(1, Ordering::SeqCst) + 1);
            async move { Ok(TokenData::new(token)) }
        });
        let auth = AuthLayer::with_token_auth(source).origin(api.url());
        let layer = over_hyper(if judges { auth.judge_with(grpc_verdict) } else { auth });
        let answer = layer.send(Request::get(api.url())).await.expect("an answer");
        assert_eq!(answer.headers["grpc-status"], status);
        assert_eq!(api.requests().len(), sends);
    }
}
