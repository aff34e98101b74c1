mod blocking;
mod client;
mod layer;
mod middleware;

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use requestforge::{HttpClientError, TokenAuth};

pub(crate) use blocking::Blocking;
pub(crate) use client::Client;
pub(crate) use layer::Layer;
pub(crate) use middleware::Middleware;

/// Something that sends requests, and authenticates them.
pub(crate) trait Mount: Debug + Send + Sync + Sized + 'static {
    /// Whether a strategy can look into the body of an answer.
    const SHOWS_BODIES: bool = true;

    /// Authenticates at this origin only.
    fn new(auth: TokenAuth, origin: &str) -> impl Future<Output = Self> + Send;

    /// Returns the answer with its whole body.
    fn send(&self, request: Request) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Absolute.
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Empty,
    Whole(Bytes),
    /// The same, in a form that the client cannot send twice.
    Stream(Bytes),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The error of the mounted client, of whatever type.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<dyn Error + Send + Sync>,
    /// The reason why there is no token, as far as the error tells it.
    pub(crate) authentication: Option<String>,
}

impl Failure {
    fn new(error: impl Error + Send + Sync + 'static, authentication: Option<String>) -> Self {
        Self { error: Box::new(error), authentication }
    }
}

impl From<HttpClientError> for Failure {
    fn from(error: HttpClientError) -> Self {
        let authentication = error.authentication_error().map(ToString::to_string);
        Self::new(error, authentication)
    }
}

impl Request {
    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), headers: Vec::new(), body: Body::Empty }
    }

    pub(crate) fn post(url: impl Into<String>, body: Body) -> Self {
        Self { method: Method::POST, body, ..Self::get(url) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The id by which an [`Api`](forge_tests::Api) counts the request.
    pub(crate) fn id(self, id: &str) -> Self {
        self.header("x-request-id", id.to_string())
    }
}
