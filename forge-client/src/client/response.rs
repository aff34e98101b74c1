mod stream;

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

pub use self::stream::BodyStream;

use crate::HttpClientError;
use crate::body::MAX_EXAMINED;
use crate::origin::RequestUrl;

/// A response, of any status: see [`error_for_status`](Self::error_for_status).
///
/// ```no_run
/// # async fn run(client: requestforge::HttpClient) -> Result<(), requestforge::HttpClientError> {
/// let response = client.get("/users").send().await?;
/// if response.is_success() {
///     let users: Vec<String> = response.json().await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct HttpResponse {
    pub(crate) method: Method,
    pub(crate) url: RequestUrl,
    /// Boxed, as responses are moved.
    pub(crate) inner: Box<reqwest::Response>,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
    pub(crate) max_body: usize,
}

impl HttpResponse {
    /// The status.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        self.inner.status()
    }

    /// Whether the status is one of 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.inner.status().is_success()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The URL of the response, after all redirects.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How many requests the client sent for this response: one, and one more for each retry, each replay after
    /// a 401 and each redirect.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the call took up to the head of this response, with the waits for tokens and back-offs.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Values that hooks have kept for the caller.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.inner.extensions()
    }

    /// The response itself, or an error if its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`is_status`](HttpClientError::is_status).
    pub fn error_for_status(self) -> Result<Self, HttpClientError> {
        if self.is_error() { Err(self.status_error()) } else { Ok(self) }
    }

    /// As [`error_for_status`](Self::error_for_status), but the error holds the first 64 KiB of the
    /// [body](HttpClientError::body). This waits for the body until the attempt's time-out. If the body breaks
    /// off or stalls, the error holds the bytes that came.
    ///
    /// # Errors
    ///
    /// [`is_status`](HttpClientError::is_status).
    pub async fn error_for_status_with_body(mut self) -> Result<Self, HttpClientError> {
        if !self.is_error() {
            return Ok(self);
        }
        let mut body = BytesMut::new();
        while body.len() < MAX_EXAMINED
            && let Ok(Some(piece)) = self.inner.chunk().await
        {
            body.extend_from_slice(&piece);
        }
        body.truncate(MAX_EXAMINED);
        Err(self.status_error().with_body(body.freeze()))
    }

    fn is_error(&self) -> bool {
        let status = self.status_code();
        status.is_client_error() || status.is_server_error()
    }

    fn status_error(&self) -> HttpClientError {
        self.failed(HttpClientError::status(self.status_code()))
    }

    fn failed(&self, error: HttpClientError) -> HttpClientError {
        error.at(&self.method, &self.url).after(self.attempts)
    }

    /// Reads the body as text, in the charset that the response names, else UTF-8.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub async fn text(mut self) -> Result<String, HttpClientError> {
        let mut response = reqwest::Response::from(http::Response::new(self.whole().await?));
        *response.headers_mut() = std::mem::take(self.inner.headers_mut());
        let text = response.text().await;
        text.map_err(|error| self.failed(HttpClientError::exchange(&error)))
    }

    /// Reads the whole body.
    ///
    /// # Errors
    ///
    /// The connection was cut, the body did not come in time, or it is larger than the client's
    /// [`with_max_body`](crate::HttpClientConfigBuilder::with_max_body)
    /// ([`is_body_too_large`](HttpClientError::is_body_too_large)).
    #[doc(alias = "content")]
    pub async fn bytes(mut self) -> Result<Bytes, HttpClientError> {
        self.whole().await
    }

    /// Reads a body of any size: a `futures` stream of the pieces as they arrive.
    ///
    /// An item is an error if the connection was cut, or if no more came in time.
    pub fn bytes_stream(self) -> BodyStream {
        BodyStream::new(self.method, self.url, self.attempts, *self.inner)
    }

    /// Reads the next piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// The connection was cut, or no more came in time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpClientError> {
        let chunk = self.inner.chunk().await;
        chunk.map_err(|error| self.failed(HttpClientError::exchange(&error)))
    }

    /// The rest of the body.
    async fn whole(&mut self) -> Result<Bytes, HttpClientError> {
        let is_too_large = |size: u64| u64::try_from(self.max_body).is_ok_and(|most| size > most);
        if self.inner.content_length().is_some_and(is_too_large) {
            return Err(self.too_large());
        }
        // Speed: most bodies come in one piece, which is not copied.
        let Some(first) = self.chunk_after(0).await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk_after(first.len()).await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(next) = self.chunk_after(whole.len()).await? {
            whole.extend_from_slice(&next);
        }
        Ok(whole.freeze())
    }

    async fn chunk_after(&mut self, read: usize) -> Result<Option<Bytes>, HttpClientError> {
        let next = self.chunk().await?;
        if next.as_ref().is_some_and(|next| read + next.len() > self.max_body) {
            return Err(self.too_large());
        }
        Ok(next)
    }

    fn too_large(&self) -> HttpClientError {
        self.failed(HttpClientError::body_too_large(self.max_body))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// The body is not such JSON ([`is_parse`](HttpClientError::is_parse)); else as [`bytes`](Self::bytes).
    pub async fn json<T: DeserializeOwned>(mut self) -> Result<T, HttpClientError> {
        let body = self.whole().await?;
        serde_json::from_slice(&body).map_err(|error| self.failed(HttpClientError::parse(masked(&error))))
    }

    /// Reads the body as JSON. `None` if it is not such JSON, did not arrive whole, or is too large.
    pub async fn json_or_none<T: DeserializeOwned>(self) -> Option<T> {
        self.json().await.ok()
    }
}

/// The position of the mistake in the JSON. Attack: the message of `serde_json` may quote the body, and with it a
/// secret.
fn masked(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends early",
        serde_json::error::Category::Data => "the JSON is not of the expected shape",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "it is not JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("method", &self.method)
            .field("url", &self.url.shown())
            .field("status", &self.inner.status())
            .finish_non_exhaustive()
    }
}
