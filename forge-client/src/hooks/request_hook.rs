use std::fmt;

use forge_core::ConfigError;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use super::{HookResult, IntoHookResult};
use crate::origin::{RequestUrl, Trust, header};

/// Sees each request before it is sent, and may change its headers.
///
/// It is asked for every send: each attempt, each replay after a 401, each hop of a redirect. What it set
/// before is gone by then, so a redirect carries nothing of it on. The credential is in place already;
/// hooks are asked in the order in which they were registered.
///
/// A hook that fails stops the call ([`is_hook`](crate::HttpClientError::is_hook)), and the request is not
/// sent, unless it is wrapped in [`IgnoringFailures`](crate::IgnoringFailures). A panic in a hook is a bug
/// in it, and is the caller's: it leaves `send()` like any other. Nothing stays locked or counted behind it.
///
/// Hooks run on the task that sends, between two sends, so they are not asynchronous: who has to wait for
/// something does so beforehand, or in a task of its own.
///
/// A closure is one, too:
///
/// ```
/// use forge_client::{HttpClient, OutgoingRequest};
///
/// let client = HttpClient::builder("https://api.example.com")
///     .with_request_hook(|request: &mut OutgoingRequest<'_>| {
///         request.set_header("X-Attempt", request.attempt().to_string())
///     })
///     .build()?;
/// # Ok::<_, forge_client::HttpClientError>(())
/// ```
pub trait RequestHook: Send + Sync {
    /// Called before the request is sent.
    ///
    /// # Errors
    ///
    /// Why the request must not be sent.
    fn before_request(&self, request: &mut OutgoingRequest<'_>) -> HookResult;

    /// The headers that the hook sets and that carry no credential. The client treats each as if
    /// [`with_public_header`](crate::HttpClientConfigBuilder::with_public_header) named it. The builder calls
    /// this once. Default: none.
    fn public_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }
}

impl<F, R> RequestHook for F
where
    F: Fn(&mut OutgoingRequest<'_>) -> R + Send + Sync,
    R: IntoHookResult,
{
    fn before_request(&self, request: &mut OutgoingRequest<'_>) -> HookResult {
        self(request).into_hook_result()
    }
}

/// A request as it is about to be sent.
pub struct OutgoingRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a RequestUrl,
    pub(crate) headers: &'a mut HeaderMap,
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) attempt: u32,
    pub(crate) is_trusted: bool,
    pub(crate) trust: &'a Trust,
    pub(crate) extensions: &'a mut Extensions,
}

impl OutgoingRequest<'_> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The URL, after joining, and after redirects.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.url
    }

    /// Which send of the call this is: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether this goes to an origin that may see the client's credentials.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The headers so far, the credential among them. What the library below adds (`Host`,
    /// `Content-Length`, …) is not.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The body, if there is one that is at hand: no stream.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.body
    }

    /// Sets a header, instead of what there is of that name.
    ///
    /// If the request is not [trusted](Self::is_trusted), this sets only
    /// [public headers](crate::HttpClientConfigBuilder::with_public_header), and changes no other.
    ///
    /// # Errors
    ///
    /// Name or value do not fit into a header, or it is `Content-Length` or `Transfer-Encoding`, which follow
    /// from the body.
    pub fn set_header<N, V>(&mut self, name: N, value: V) -> Result<(), ConfigError>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let (name, value) = header(name, value)?;
        if self.is_trusted || self.trust.is_public(&name, &value) {
            self.headers.insert(name, value);
        } else {
            tracing::debug!(header = %name, "a hook's header is not for this origin");
        }
        Ok(())
    }

    /// What hooks remember of this call. All its attempts and hops share it, and so do the
    /// [response](crate::HttpResponse::extensions) and hooks that see it.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.extensions
    }

    /// The same, to be changed.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions
    }
}

/// Names of headers, not their values.
impl fmt::Debug for OutgoingRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingRequest")
            .field("method", &self.method)
            .field("url", &self.url.shown())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("attempt", &self.attempt)
            .field("is_trusted", &self.is_trusted)
            .finish_non_exhaustive()
    }
}
