use std::fmt;

use forge_core::ConfigError;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use super::{HookResult, IntoHookResult};
use crate::origin::{RequestUrl, Trust, header};

/// Sees each request before the client sends it, and may change its headers.
///
/// The client runs the hooks before every request of a call: each attempt, each replay after a 401, each hop of a
/// redirect. They begin with the headers that the caller set, so a redirect carries nothing of an earlier run. The
/// credential is already among the headers. Hooks run in the order in which they were registered.
///
/// A hook that fails stops the call ([`is_hook`](crate::HttpClientError::is_hook)), and the client does not
/// send the request, unless [`IgnoringFailures`](crate::IgnoringFailures) wraps the hook. A panic in a hook
/// reaches the caller of `send()`. No lock and no count stays behind.
///
/// Hooks run on the task that sends, and are not asynchronous. If a hook has to wait for something, wait before
/// the call, or in a task of its own.
///
/// A closure is a hook, too:
///
/// ```
/// use requestforge::hooks::OutgoingRequest;
/// use requestforge::HttpClient;
///
/// let client = HttpClient::builder("https://api.example.com")
///     .with_request_hook(|request: &mut OutgoingRequest<'_>| {
///         request.set_header("X-Attempt", request.attempt().to_string())
///     })
///     .build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
pub trait RequestHook: Send + Sync {
    /// Runs before the client sends the request.
    ///
    /// # Errors
    ///
    /// The reason why the client must not send the request.
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

    /// The number of this request within the call, from 1 on.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the request goes to an origin that may see the client's credentials.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The headers so far, the credential among them. `reqwest` adds others later (`Host`, `Content-Length`, …).
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The body; `None` if there is none, or if it is a stream.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.body
    }

    /// Sets a header, and replaces those of the same name.
    ///
    /// If the request is not [trusted](Self::is_trusted), this sets only
    /// [public headers](crate::HttpClientConfigBuilder::with_public_header), and changes no other.
    ///
    /// # Errors
    ///
    /// The name or the value does not fit into a header, or the header is `Content-Length` or `Transfer-Encoding`,
    /// which follow from the body.
    pub fn set_header<N, V>(&mut self, name: N, value: V) -> Result<(), ConfigError>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let (name, value) = header(name, value)?;
        if self.is_trusted || self.trust.is_public(&name, &value) {
            self.headers.insert(name, value);
        } else {
            tracing::debug!(header = %name, "a hook's header was not set: this origin may not see it");
        }
        Ok(())
    }

    /// Values that hooks keep for this call. All its attempts and hops share them. The
    /// [response](crate::HttpResponse::extensions) has them, too.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.extensions
    }

    /// The same values, mutable.
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
