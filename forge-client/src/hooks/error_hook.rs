use std::fmt;
use std::time::Duration;

use http::{Extensions, Method};
use url::Url;

use crate::HttpClientError;
use crate::origin::RequestUrl;

/// Sees the error with which a call ends, once.
///
/// An answer of any status is no error, and what could not be built was never a call. A hook that watches
/// cannot fail, as that would hide what really went wrong. For order and panics see
/// [`RequestHook`](crate::RequestHook). A closure is one, too:
///
/// ```
/// use forge_client::{FailedCall, HttpClient};
///
/// let client = HttpClient::builder("https://api.example.com")
///     .with_error_hook(|failed: &FailedCall<'_>| {
///         eprintln!("given up after {} attempts: {}", failed.attempts(), failed.error());
///     })
///     .build()?;
/// # Ok::<_, forge_client::HttpClientError>(())
/// ```
pub trait ErrorHook: Send + Sync {
    /// Called when there was no answer, no token, a redirect that was refused, a hook that failed, or
    /// whatever else ends a call.
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

    /// How many requests were sent for it: 0 if it failed before the first.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long it took, all attempts and all waiting included.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What went wrong. It goes to the caller.
    #[must_use]
    pub fn error(&self) -> &'a HttpClientError {
        self.error
    }

    /// What hooks remember of this call.
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
