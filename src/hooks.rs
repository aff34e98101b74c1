//! Hooks that see each request, response or error of a client, and the ones that exist already.
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
