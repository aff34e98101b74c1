use std::fmt;

use forge_core::AuthenticationError;
use http::{HeaderMap, HeaderName, Method};
use url::Url;

use crate::origin::without_query;

/// Authentication of one's own: a signature over the request, say, or a header whose value changes.
///
/// It is asked for each request at an origin that may see the client's credentials: for the first one, for
/// retries and replays, and at each hop of a redirect chain; never for any other. Where a token has to be
/// fetched, implement [`TokenSource`](forge_core::TokenSource) instead.
///
/// ```
/// use forge_client::{AuthHook, AuthRequest, HttpClient};
/// use forge_core::AuthenticationError;
/// use http::{HeaderMap, HeaderName, HeaderValue};
///
/// #[derive(Debug)]
/// struct Signed;
///
/// impl AuthHook for Signed {
///     fn header_names(&self) -> Vec<HeaderName> {
///         vec![HeaderName::from_static("x-signature")]
///     }
///
///     fn authenticate(&self, request: &AuthRequest<'_>) -> Result<HeaderMap, AuthenticationError> {
///         # fn sign(_: &str) -> u64 { 0 }
///         let signature = sign(&format!("{} {}", request.method(), request.url()));
///         Ok(HeaderMap::from_iter([(HeaderName::from_static("x-signature"), HeaderValue::from(signature))]))
///     }
/// }
///
/// let client = HttpClient::builder("https://api.example.com").with_auth(Signed).build()?;
/// # Ok::<_, forge_client::HttpClientError>(())
/// ```
pub trait AuthHook: Send + Sync + fmt::Debug {
    /// The headers that it may set. The client treats them as credentials wherever they come from: a
    /// caller's own header of such a name does not follow a redirect to another origin, either.
    /// `Content-Length` and `Transfer-Encoding`, which follow from the body, are refused.
    fn header_names(&self) -> Vec<HeaderName>;

    /// Whether it authenticates this request. Default: yes.
    fn applies_to(&self, request: &AuthRequest<'_>) -> bool {
        let _ = request;
        true
    }

    /// The headers to set on this request, of those that it may. The values are marked sensitive by the
    /// client. A header that the caller has set stays as it is.
    ///
    /// # Errors
    ///
    /// It cannot: then the request is not sent.
    fn authenticate(&self, request: &AuthRequest<'_>) -> Result<HeaderMap, AuthenticationError>;
}

/// A request that is about to be sent, as an [`AuthHook`] and an [`AuthSession`](crate::AuthSession) see it.
#[derive(Clone, Copy)]
pub struct AuthRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) shown_url: &'a str,
    /// The path as it is sent. It differs from the URL's where a client does not normalise it.
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> AuthRequest<'a> {
    /// A request to this URL, with the caller's own headers and no body.
    #[must_use]
    pub fn new(method: &'a Method, url: &'a Url, headers: &'a HeaderMap) -> Self {
        let (shown_url, path) = (without_query(url), url.path());
        Self { method, url, shown_url, path, headers, body: Some(&[]) }
    }

    /// The same request with this body; `None` for a stream.
    #[must_use]
    pub fn with_body(mut self, body: Option<&'a [u8]>) -> Self {
        self.body = body;
        self
    }

    /// The same request with the headers that it has by now.
    pub(super) fn with_headers<'b>(&self, headers: &'b HeaderMap) -> AuthRequest<'b>
    where
        'a: 'b,
    {
        AuthRequest { headers, ..*self }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URL that the request goes to, after joining and redirects.
    #[must_use]
    pub fn url(&self) -> &'a Url {
        self.url
    }

    /// The headers so far: the caller's, the client's, and those of the authentication that comes before
    /// this one in a [`CompositeAuth`](crate::CompositeAuth).
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The body, empty where there is none; `None` where it is a stream.
    #[must_use]
    pub fn body(&self) -> Option<&'a [u8]> {
        self.body
    }
}

impl fmt::Debug for AuthRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("method", &self.method)
            .field("url", &self.shown_url)
            .finish_non_exhaustive()
    }
}
