use http::Method;

use super::{RequestBuilder, runtime};
use crate::{HttpClientConfig, HttpClientConfigBuilder, HttpClientError};

/// [`crate::HttpClient`], for programs without `async`. Cheap to clone; clones share connections.
///
/// ```
/// use std::sync::LazyLock;
/// use requestforge::blocking::HttpClient;
/// use requestforge::HttpClientError;
///
/// static USERS: LazyLock<Result<HttpClient, HttpClientError>> =
///     LazyLock::new(|| HttpClient::builder("https://users.example.com").with_api_key("your-key").build());
/// # assert!(USERS.is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct HttpClient(crate::HttpClient);

/// An [`HttpClientConfigBuilder`] that makes a blocking client at once.
pub type HttpClientBuilder = HttpClientConfigBuilder<HttpClient>;

impl HttpClientBuilder {
    /// Builds the client.
    ///
    /// # Errors
    ///
    /// Names the invalid setting; `blocking` [within a runtime](super#where-it-is-refused).
    pub fn build(self) -> Result<HttpClient, HttpClientError> {
        HttpClient::new(self.build_config()?)
    }
}

impl HttpClient {
    /// Makes a client with these settings.
    ///
    /// # Errors
    ///
    /// As [`crate::HttpClient::new`], and [within a runtime](super#where-it-is-refused).
    pub fn new(config: HttpClientConfig) -> Result<Self, HttpClientError> {
        runtime::check_thread()?;
        crate::HttpClient::new(config).map(Self)
    }

    /// A [builder](HttpClientConfigBuilder) with this base URL, whose `build()` makes a client at once.
    pub fn builder(base_url: impl Into<String>) -> HttpClientBuilder {
        HttpClientBuilder::for_client(base_url)
    }

    /// A `GET` request. The URL is a path below the base URL, or absolute.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A `POST` request.
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A `PUT` request.
    pub fn put(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A `PATCH` request.
    pub fn patch(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A `DELETE` request.
    pub fn delete(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A `HEAD` request.
    pub fn head(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// An `OPTIONS` request.
    pub fn options(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::OPTIONS, url)
    }

    /// A request of any method.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self.0.request(method, url))
    }

    pub(super) fn as_async(&self) -> &crate::HttpClient {
        &self.0
    }
}
