use std::fmt;
use std::time::Duration;

use http::{Extensions, HeaderMap, Method, StatusCode};
use url::Url;

use super::{HookResult, IntoHookResult};
use crate::origin::RequestUrl;

/// Sees each response that ends the attempts of a hop: also one that redirects, but none after which the client sends
/// the request again.
///
/// A hook sees no body: the caller reads it. To pass a value to the caller, put it into the
/// [extensions](ReceivedResponse::extensions_mut). The caller gets it from
/// [`HttpResponse::extensions`](crate::HttpResponse::extensions).
///
/// For order, failures and panics see [`RequestHook`](crate::RequestHook). A closure is a hook, too:
///
/// ```
/// use requestforge::hooks::ReceivedResponse;
/// use requestforge::HttpClient;
///
/// # fn count(_: http::StatusCode, _: std::time::Duration) {}
/// let client = HttpClient::builder("https://api.example.com")
///     .with_response_hook(|response: &mut ReceivedResponse<'_>| {
///         count(response.status_code(), response.elapsed());
///     })
///     .build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
pub trait ResponseHook: Send + Sync {
    /// Runs when status and headers have arrived.
    ///
    /// # Errors
    ///
    /// The reason why the call must not go on.
    fn after_response(&self, response: &mut ReceivedResponse<'_>) -> HookResult;
}

impl<F, R> ResponseHook for F
where
    F: Fn(&mut ReceivedResponse<'_>) -> R + Send + Sync,
    R: IntoHookResult,
{
    fn after_response(&self, response: &mut ReceivedResponse<'_>) -> HookResult {
        self(response).into_hook_result()
    }
}

/// A response, without its body.
pub struct ReceivedResponse<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a RequestUrl,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) attempt: u32,
    pub(crate) elapsed: Duration,
    pub(crate) extensions: &'a mut Extensions,
}

impl ReceivedResponse<'_> {
    /// The method of its request.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The URL of its request.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.url
    }

    /// The status.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The number of the request within the call, from 1 on.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time from the sending of the request to the headers of this response.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Values that hooks keep for this call. All its attempts and hops share them.
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
impl fmt::Debug for ReceivedResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedResponse")
            .field("method", &self.method)
            .field("url", &self.url.shown())
            .field("status", &self.status)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("attempt", &self.attempt)
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}
