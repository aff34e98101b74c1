use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use reqwest::multipart::Form;
use serde::Serialize;

use super::{HttpResponse, runtime};
use crate::{Auth, Curl, HttpClientError};

/// Builds a request, which [`send`](Self::send) sends. The first mistake in it is the error of `send`.
///
/// ```no_run
/// # fn run(client: requestforge::blocking::HttpClient) -> Result<(), requestforge::HttpClientError> {
/// use std::time::Duration;
///
/// let order = client
///     .post("/orders")
///     .query(&[("dry_run", "true")])
///     .json(&["book"])
///     .timeout(Duration::from_secs(5))
///     .send()?
///     .error_for_status()?
///     .text()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder(crate::RequestBuilder);

impl RequestBuilder {
    pub(super) fn new(request: crate::RequestBuilder) -> Self {
        Self(request)
    }

    pub(super) fn into_async(self) -> crate::RequestBuilder {
        self.0
    }

    /// As [`query`](crate::RequestBuilder::query).
    pub fn query<T: Serialize + ?Sized>(self, query: &T) -> Self {
        Self(self.0.query(query))
    }

    /// As [`header`](crate::RequestBuilder::header).
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        Self(self.0.header(name, value))
    }

    /// As [`json`](crate::RequestBuilder::json).
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        Self(self.0.json(body))
    }

    /// As [`form`](crate::RequestBuilder::form).
    pub fn form<T: Serialize + ?Sized>(self, body: &T) -> Self {
        Self(self.0.form(body))
    }

    /// As [`multipart`](crate::RequestBuilder::multipart).
    pub fn multipart(self, form: Form) -> Self {
        Self(self.0.multipart(form))
    }

    /// As [`body`](crate::RequestBuilder::body).
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self(self.0.body(body))
    }

    /// As [`body_stream`](crate::RequestBuilder::body_stream). It is read on the thread that all blocking
    /// objects share, so it must not block.
    pub fn body_stream(self, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body_stream(body))
    }

    /// As [`timeout`](crate::RequestBuilder::timeout).
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// As [`total_timeout`](crate::RequestBuilder::total_timeout).
    pub fn total_timeout(self, timeout: Duration) -> Self {
        Self(self.0.total_timeout(timeout))
    }

    /// As [`idempotency_key`](crate::RequestBuilder::idempotency_key).
    pub fn idempotency_key(self, key: impl AsRef<str>) -> Self {
        Self(self.0.idempotency_key(key))
    }

    /// As [`retry_any_method`](crate::RequestBuilder::retry_any_method).
    pub fn retry_any_method(self) -> Self {
        Self(self.0.retry_any_method())
    }

    /// As [`auth`](crate::RequestBuilder::auth).
    pub fn auth(self, auth: impl Into<Auth>) -> Self {
        Self(self.0.auth(auth))
    }

    /// As [`no_auth`](crate::RequestBuilder::no_auth).
    pub fn no_auth(self) -> Self {
        Self(self.0.no_auth())
    }

    /// As [`force_renewal`](crate::RequestBuilder::force_renewal).
    pub fn force_renewal(self) -> Self {
        Self(self.0.force_renewal())
    }

    /// Sends the request and waits for the response. A response is no error, whatever its status: see
    /// [`HttpResponse::error_for_status`].
    ///
    /// # Errors
    ///
    /// As [`send`](crate::RequestBuilder::send), and [within a runtime](super#where-it-is-refused), where
    /// nothing is sent.
    pub fn send(self) -> Result<HttpResponse, HttpClientError> {
        runtime::block_on(self.0.send())?.map(HttpResponse::new)
    }

    /// As [`to_curl`](crate::RequestBuilder::to_curl).
    pub fn to_curl(&self) -> Curl<'_> {
        self.0.to_curl()
    }
}
