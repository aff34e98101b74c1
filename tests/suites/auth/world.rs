use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_tests::{Origin, RawReply, RecordedRequest};
use requestforge::auth::{AuthHook, AuthRequest};
use requestforge::client::HttpClientBuilder;
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, HttpClient, TokenData, TokenSource, token_source_fn,
};
use requestforge::{HttpClientError, HttpResponse};

/// A server that accepts all requests, and records them.
pub(crate) async fn server() -> Origin {
    Origin::start(|_| RawReply::ok("")).await.expect("a server")
}

pub(crate) fn client(
    server: &Origin,
    configure: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder,
) -> HttpClient {
    configure(HttpClient::builder(server.url())).build().expect("a client")
}

/// The field of the setting that the builder refused.
pub(crate) fn refused<T>(result: Result<T, HttpClientError>) -> &'static str {
    let error = result.err().expect("refused");
    error.config_error().expect("a setting").field()
}

pub(crate) async fn get(client: &HttpClient, url: &str) -> HttpResponse {
    client.get(url).send().await.expect("an answer")
}

/// The last request.
pub(crate) fn last(server: &Origin) -> RecordedRequest {
    server.requests().pop().expect("a request")
}

/// The values of these headers of the request, by name.
pub(crate) fn values<const N: usize>(request: &RecordedRequest, names: [&str; N]) -> [Option<String>; N] {
    names.map(|name| request.header(name))
}

pub(crate) fn some<const N: usize>(values: [&str; N]) -> [Option<String>; N] {
    values.map(|value| (!value.is_empty()).then(|| value.to_owned()))
}

/// Hands out `a1`, `a2`, … for the name `a`, another one for each fetch. Also returns the number of fetches.
pub(crate) fn tokens(name: &'static str) -> (impl TokenSource + Clone, Arc<AtomicUsize>) {
    let fetches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetches);
    let source = token_source_fn(move || {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(TokenData::new(format!("{name}{number}"))) }
    });
    (source, fetches)
}

/// A source that never has a token.
pub(crate) fn no_tokens() -> impl TokenSource {
    token_source_fn(|| async { Err(AuthenticationError::new("none", AuthenticationErrorKind::Connect)) })
}

/// Signs the parts of a request that it sees.
#[derive(Debug, Default)]
pub(crate) struct SignedHook {
    pub(crate) asked: Arc<AtomicUsize>,
}

impl AuthHook for SignedHook {
    fn header_names(&self) -> Vec<http::HeaderName> {
        vec![http::HeaderName::from_static("x-odd")]
    }

    fn applies_to(&self, request: &AuthRequest<'_>) -> bool {
        !request.url().path().starts_with("/unsigned")
    }

    fn authenticate(&self, request: &AuthRequest<'_>) -> Result<http::HeaderMap, AuthenticationError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let body = request.body().map(String::from_utf8_lossy);
        let key = request.headers().get("x-api-key").map(|key| key.to_str().expect("text"));
        let signed = format!("{} {} {key:?} {body:?}", request.method(), request.url());
        let value = http::HeaderValue::try_from(signed).expect("a value");
        Ok(http::HeaderMap::from_iter([(http::HeaderName::from_static("x-odd"), value)]))
    }
}
