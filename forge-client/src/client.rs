//! The client as its users see it: settings, requests and responses.

mod config;
mod curl;
mod request;
mod request_many;
mod response;

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::HttpClientError;
use crate::call::ClientCore;

pub use config::{HttpClientBuilder, HttpClientConfig, HttpClientConfigBuilder};
pub use curl::Curl;
pub use request::RequestBuilder;
pub use request_many::RequestMany;
pub use response::{BodyStream, HttpResponse};

/// An HTTP client for one API. It sends the API's credentials with each request to the API, and nowhere else.
/// Cheap to clone; clones share connections.
///
/// Credentials go to the origin (scheme, host, port) of the base URL, and to
/// [credential origins](crate::HttpClientConfigBuilder::with_credential_origin). Requests with an absolute URL and
/// redirects carry them to no other origin. A redirect chain that has left these origins does not get the credentials
/// back. The same rule holds for default headers, and on a redirect for a request's own headers, unless they are
/// [known to carry no credential](crate::HttpClientConfigBuilder::with_public_header).
///
/// The client calls this machine (`localhost`, 127.0.0.0/8, `[::1]`) without a proxy.
///
/// Each service with tokens of its own has a client of its own:
///
/// ```no_run
/// use requestforge::{HttpClient, HttpClientConfigBuilder};
///
/// # async fn run(
/// #     service_a_manager: impl requestforge::TokenSource + 'static,
/// #     service_b_manager: impl requestforge::TokenSource + 'static,
/// # ) -> Result<(), requestforge::HttpClientError> {
/// let client_a = HttpClient::new(
///     HttpClientConfigBuilder::new()
///         .with_base_url("https://service-a.com")
///         .with_token_auth(service_a_manager)
///         .build()?,
/// )?;
/// let client_b = HttpClient::builder("https://service-b.com")
///     .with_token_auth(service_b_manager)
///     .build()?;
///
/// let users = client_a.get("/users").send().await?;
/// let posts = client_b.get("/posts").send().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpClient(Arc<ClientCore>);

impl HttpClient {
    /// Makes a client with these settings.
    ///
    /// # Errors
    ///
    /// `reqwest` rejects the settings, or the TLS library could not be set up.
    pub fn new(config: HttpClientConfig) -> Result<Self, HttpClientError> {
        Ok(Self(Arc::new(ClientCore::new(config.0)?)))
    }

    /// A [builder](crate::HttpClientConfigBuilder) with this base URL, whose `build()` makes a client at once.
    ///
    /// ```
    /// use requestforge::HttpClient;
    ///
    /// let client = HttpClient::builder("https://api.example.com").with_api_key("your-key").build()?;
    /// # Ok::<_, requestforge::HttpClientError>(())
    /// ```
    #[doc(alias = "create_client")]
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
        RequestBuilder::new(Arc::clone(&self.0), method, url.as_ref())
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("base_url", &self.0.settings.base_url).finish_non_exhaustive()
    }
}
