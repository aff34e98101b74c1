use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::HttpClientError;
use crate::target::presentable;

/// An answer. Any status is one: see [`error_for_status`](Self::error_for_status).
///
/// ```no_run
/// # async fn run(client: forge_client::HttpClient) -> Result<(), forge_client::HttpClientError> {
/// let response = client.get("/users").send().await?;
/// if response.is_success() {
///     let users: Vec<String> = response.json().await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct HttpResponse {
    method: Method,
    url: Url,
    inner: reqwest::Response,
}

impl HttpResponse {
    pub(crate) fn new(method: Method, url: Url, inner: reqwest::Response) -> Self {
        Self { method, url, inner }
    }

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

    /// The URL that answered, after all redirects.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The response itself, or an error if its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`is_status`](HttpClientError::is_status).
    pub fn error_for_status(self) -> Result<Self, HttpClientError> {
        let status = self.status_code();
        if status.is_client_error() || status.is_server_error() {
            return Err(HttpClientError::status(status).at(&self.method, &self.url));
        }
        Ok(self)
    }

    /// The body as text, in the charset that the answer names, else UTF-8.
    ///
    /// # Errors
    ///
    /// The connection was cut, or no more came in time.
    pub async fn text(self) -> Result<String, HttpClientError> {
        self.inner.text().await.map_err(|error| HttpClientError::exchange(&error).at(&self.method, &self.url))
    }

    /// The body, whole.
    ///
    /// # Errors
    ///
    /// The connection was cut, or no more came in time.
    pub async fn bytes(self) -> Result<Bytes, HttpClientError> {
        self.inner
            .bytes()
            .await
            .map_err(|error| HttpClientError::exchange(&error).at(&self.method, &self.url))
    }

    /// The next piece of the body, as it arrives; `None` at its end.
    ///
    /// # Errors
    ///
    /// The connection was cut, or no more came in time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpClientError> {
        self.inner
            .chunk()
            .await
            .map_err(|error| HttpClientError::exchange(&error).at(&self.method, &self.url))
    }

    /// The body read as JSON.
    ///
    /// # Errors
    ///
    /// It is not that JSON ([`is_parse`](HttpClientError::is_parse)), or did not arrive whole.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, HttpClientError> {
        let (method, url) = (self.method.clone(), self.url.clone());
        let body = self.bytes().await?;
        serde_json::from_slice(&body)
            .map_err(|error| HttpClientError::parse(masked(&error)).at(&method, &url))
    }

    /// The body read as JSON, or `None` if it is not that, or did not arrive whole.
    pub async fn json_or_none<T: DeserializeOwned>(self) -> Option<T> {
        self.json().await.ok()
    }
}

/// Where a body stops being what was expected. `serde_json`'s own words may quote it.
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
            .field("url", &presentable(&self.url))
            .field("status", &self.inner.status())
            .finish_non_exhaustive()
    }
}
