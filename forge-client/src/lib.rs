//! The HTTP client of `requestforge`. It sends each request with the right credential to the right origin, and
//! nowhere else. After a 401 it has the token renewed and replays the request.
//!
//! Applications depend on `requestforge`, which shows this crate together with the token managers. Depend on
//! `forge-client` directly if your tokens come from a [`TokenSource`](forge_core::TokenSource) of your own and
//! you need no OAuth 2.0.
//!
//! ```no_run
//! use requestforge::HttpClient;
//! # async fn run(source: impl requestforge::TokenSource + 'static) -> Result<(), requestforge::HttpClientError> {
//! let client = HttpClient::builder("https://api.example.com").with_token_auth(source).with_retry(3).build()?;
//! let response = client.get("/users").send().await?;
//! println!("{}", response.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! | to | see |
//! | --- | --- |
//! | make a client, and send requests | [`HttpClient`], [`HttpClientConfigBuilder`], [`RequestBuilder`] |
//! | authenticate with tokens, a key, a login or a signature | [`TokenAuth`], [`ApiKeyAuth`], [`BasicAuth`], [`AuthHook`], [`CompositeAuth`] |
//! | retry, and stop requests to a failing server | [`RetryStrategy`], [`CircuitBreaker`] |
//! | see or change each request | [`RequestHook`], [`ResponseHook`], [`ErrorHook`], [`Logging`] |
//! | authenticate in another client than this one | `AuthMiddleware` (feature `middleware`), `AuthLayer` (feature `tower`), [`AuthSession`] |
//! | call it without `async` | `blocking` (feature `blocking`) |
//!
//! # Limits
//!
//! - The client is built on `reqwest` and runs on tokio.
//! - It has no cookie store and no cache of responses.
//! - Retries and replays need a body that can be sent again: a stream is sent once.
//! - Circuit breakers and retry budgets live in one process. Processes can share tokens, but not these.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "middleware", feature = "tower"))]
mod adapters;
mod auth;
#[cfg(feature = "blocking")]
pub mod blocking;
mod body;
mod breaker;
// Not within `breaker`: `tests/interleavings` compiles that over locks of another kind.
#[cfg(test)]
#[path = "breaker/tests.rs"]
mod breaker_tests;
mod call;
mod client;
mod error;
mod hooks;
mod logging;
mod origin;
#[cfg(feature = "tower")]
#[doc(hidden)]
pub mod renamed;
mod retry;
mod rt;
mod settings;
mod timing;

pub use forge_core::looks_like_credential_name;

#[cfg(feature = "tower")]
pub use adapters::layer::{
    AuthLayer, AuthLayerBuilder, AuthService, AuthServiceError, BodyCopy, CloneBody, grpc_verdict,
};
#[cfg(feature = "middleware")]
pub use adapters::middleware::{AuthMiddleware, AuthMiddlewareBuilder};
pub use auth::{
    ApiKeyAuth, Auth, AuthHook, AuthRequest, AuthRetryStrategy, AuthSession, AuthSessionConfig,
    AuthSessionConfigBuilder, BasicAuth, CompositeAuth, ConditionalAuthRetryStrategy,
    ExponentialAuthRetryStrategy, IntoTokenAuth, NextStep, ReplaySchedule, SimpleAuthRetryStrategy,
    TokenAuth, TokenFetch, TokenRenewal,
};
pub use body::ExaminedResponse;
pub use breaker::{CircuitBreaker, CircuitBreakerBuilder, CircuitOpen, CircuitState, CircuitTransition};
pub use client::{
    BodyStream, Curl, HttpClient, HttpClientBuilder, HttpClientConfig, HttpClientConfigBuilder, HttpResponse,
    RequestBuilder, RequestMany,
};
pub use error::HttpClientError;
pub use hooks::{
    CorrelationId, ErrorHook, FailedCall, HookResult, IgnoringFailures, IntoHookResult, OutgoingRequest,
    RateLimit, RateLimitReader, ReceivedResponse, RequestHook, ResponseHook,
};
pub use logging::Logging;
#[cfg(feature = "tower")]
#[doc(hidden)]
pub use renamed::*;
pub use retry::{
    CircuitBreakerRetryStrategy, ExponentialBackoffRetryStrategy, NoRetryStrategy, RetryOutcome,
    RetryStrategy, RetryableError, SimpleRetryStrategy,
};

pub use reqwest;
#[cfg(feature = "middleware")]
pub use reqwest_middleware;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
