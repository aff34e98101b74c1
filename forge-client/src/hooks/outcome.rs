use std::error::Error;

use http::HeaderName;

use super::{OutgoingRequest, ReceivedResponse, RequestHook, ResponseHook};

/// The result of a hook: nothing, or the reason why the call must not go on.
///
/// The reason becomes the [`source`](Error::source) of an error of which
/// [`is_hook`](crate::HttpClientError::is_hook) is true, so it should name no secret.
pub type HookResult = Result<(), Box<dyn Error + Send + Sync>>;

/// The return types of closures that are hooks: nothing, or a result with any error.
pub trait IntoHookResult {
    /// Converts the value.
    ///
    /// # Errors
    ///
    /// The error of the closure.
    fn into_hook_result(self) -> HookResult;
}

impl IntoHookResult for () {
    fn into_hook_result(self) -> HookResult {
        Ok(())
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> IntoHookResult for Result<(), E> {
    fn into_hook_result(self) -> HookResult {
        self.map_err(Into::into)
    }
}

/// A request or response hook whose failures stop no call. The client logs each failure as a warning and runs
/// the next hook.
///
/// ```
/// use requestforge::hooks::{IgnoringFailures, OutgoingRequest};
/// use requestforge::HttpClient;
///
/// # fn current_trace() -> String { "trace".into() }
/// let client = HttpClient::builder("https://api.example.com")
///     .with_request_hook(IgnoringFailures(|request: &mut OutgoingRequest<'_>| {
///         request.set_header("X-Trace", current_trace())
///     }))
///     .build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct IgnoringFailures<H>(
    /// The hook.
    pub H,
);

impl<H: RequestHook> RequestHook for IgnoringFailures<H> {
    fn before_request(&self, request: &mut OutgoingRequest<'_>) -> HookResult {
        if let Err(error) = self.0.before_request(request) {
            tracing::warn!(%error, "a request hook failed; the call goes on");
        }
        Ok(())
    }

    fn public_headers(&self) -> Vec<HeaderName> {
        self.0.public_headers()
    }
}

impl<H: ResponseHook> ResponseHook for IgnoringFailures<H> {
    fn after_response(&self, response: &mut ReceivedResponse<'_>) -> HookResult {
        if let Err(error) = self.0.after_response(response) {
            tracing::warn!(%error, "a response hook failed; the call goes on");
        }
        Ok(())
    }
}
