//! Hooks that see each request, response or error of a client, and the ones that exist already.
//!
//! | hook | sees | ready-made |
//! | --- | --- | --- |
//! | [`RequestHook`] | each attempt before it is sent; it may change headers | [`CorrelationId`](crate::CorrelationId) |
//! | [`ResponseHook`] | each response that the client does not retry, redirects included | [`RateLimitReader`](crate::RateLimitReader) |
//! | [`ErrorHook`] | the error with which a call ends | |
//!
//! A request or response hook that fails stops the call. Wrap it in [`IgnoringFailures`] if the call must go on.
//! The log of a client is no hook: see [`Logging`](crate::Logging).
//!
//! ```
//! use requestforge::HttpClient;
//! use requestforge::hooks::OutgoingRequest;
//!
//! let client = HttpClient::builder("https://api.example.com")
//!     .with_request_hook(|request: &mut OutgoingRequest<'_>| {
//!         println!("{} {}", request.method(), request.url().path());
//!     })
//!     .build()?;
//! # Ok::<_, requestforge::HttpClientError>(())
//! ```

pub use forge_client::{
    ErrorHook, FailedCall, HookResult, IgnoringFailures, IntoHookResult, OutgoingRequest, RateLimit,
    ReceivedResponse, RequestHook, ResponseHook,
};
