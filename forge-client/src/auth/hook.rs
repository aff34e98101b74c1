use std::fmt;

use forge_core::AuthenticationError;
use http::{HeaderMap, HeaderName, Method};
use url::Url;

use crate::origin::without_query;

/// Authentication of your own, such as a signature over the request, or a header whose value changes.
///
/// The client asks the hook for each request to an origin that may see its credentials: for the first request, for
/// retries and replays, and for each hop of a redirect chain. It never asks for other origins. If you have to fetch a
/// token, implement [`TokenSource`](forge_core::TokenSource) instead.
///
/// ```
/// use requestforge::auth::{AuthHook, AuthRequest};
/// use requestforge::{AuthenticationError, HttpClient};
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
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
pub trait AuthHook: Send + Sync + fmt::Debug {
    /// The headers that the hook may set. The client treats them as credentials also if the caller sets them: such a
    /// header does not follow a redirect to another origin. The builder refuses `Content-Length` and
    /// `Transfer-Encoding`: they follow from the body.
    fn header_names(&self) -> Vec<HeaderName>;

    /// Whether the hook authenticates this request. Default: yes.
    fn applies_to(&self, request: &AuthRequest<'_>) -> bool {
        let _ = request;
        true
    }

    /// The headers to set on this request, of those in [`header_names`](Self::header_names). The client marks
    /// the values as sensitive. A header that the caller has set stays as it is.
    ///
    /// # Errors
    ///
    /// The hook cannot authenticate the request. The client does not send it.
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

    /// The body: empty if there is none, `None` if it is a stream.
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
