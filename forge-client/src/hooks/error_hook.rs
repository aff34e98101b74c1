use std::fmt;
use std::time::Duration;

use http::{Extensions, Method};
use url::Url;

use crate::HttpClientError;
use crate::origin::RequestUrl;

/// Sees the error with which a call ends, once.
///
/// A response of any status is no error. A request that could not be built is no call, so no hook sees its error. An
/// error hook cannot fail, because its own error would hide that of the call. For order and panics see
/// [`RequestHook`](crate::RequestHook). A closure is a hook, too:
///
/// ```
/// use requestforge::hooks::FailedCall;
/// use requestforge::HttpClient;
///
/// let client = HttpClient::builder("https://api.example.com")
///     .with_error_hook(|failed: &FailedCall<'_>| {
///         eprintln!("given up after {} attempts: {}", failed.attempts(), failed.error());
///     })
///     .build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
pub trait ErrorHook: Send + Sync {
    /// Runs when a call ends in an error: no response, no token, a refused redirect, a hook that failed, and others.
    fn on_error(&self, failed: &FailedCall<'_>);
}

impl<F: Fn(&FailedCall<'_>) + Send + Sync> ErrorHook for F {
    fn on_error(&self, failed: &FailedCall<'_>) {
        self(failed);
    }
}

/// A call that ends in an error.
pub struct FailedCall<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a RequestUrl,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
    pub(crate) error: &'a HttpClientError,
    pub(crate) extensions: &'a Extensions,
}

impl<'a> FailedCall<'a> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URL, after joining, and after redirects.
    #[must_use]
    pub fn url(&self) -> &'a Url {
        self.url
    }

    /// How many requests the client sent for the call: 0 if the call failed before the first.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the call took, with all attempts and waits.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The error. The caller gets it, too.
    #[must_use]
    pub fn error(&self) -> &'a HttpClientError {
        self.error
    }

    /// Values that hooks keep for this call.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl fmt::Debug for FailedCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailedCall")
            .field("method", &self.method)
            .field("url", &self.url.shown())
            .field("attempts", &self.attempts)
            .field("elapsed", &self.elapsed)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
