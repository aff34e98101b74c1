//! An HTTP client that sends each request with the right credential, to the right host, once.
//!
//! ```no_run
//! use forge_client::HttpClient;
//! # async fn run(source: impl forge_core::TokenSource + 'static) -> Result<(), forge_client::HttpClientError> {
//! let client = HttpClient::builder("https://api.example.com").with_token_auth(source).build()?;
//! let response = client.get("/users").send().await?;
//! println!("{}", response.text().await?);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "middleware", feature = "tower"))]
mod adapters;
mod auth;
mod backoff;
#[cfg(feature = "blocking")]
pub mod blocking;
mod breaker;
// Not within `breaker`: `tests/interleavings` compiles that over locks of another kind.
#[cfg(test)]
#[path = "breaker/tests.rs"]
mod breaker_tests;
mod client;
mod config;
mod curl;
mod deadline;
mod error;
mod examined;
mod header;
mod hooks;
mod hop;
mod http_clients;
mod logging;
mod multipart;
mod peek;
mod public_headers;
mod redirect;
#[cfg(feature = "tower")]
#[doc(hidden)]
pub mod renamed;
mod request;
mod request_many;
mod response;
mod retry;
mod rt;
mod send;
mod target;
mod upload;
mod warnings;

pub use forge_core::looks_like_credential_name;

#[cfg(feature = "tower")]
pub use adapters::layer::{
    AuthLayer, AuthLayerBuilder, AuthService, AuthServiceError, BodyCopy, CloneBody, grpc_verdict,
};
#[cfg(feature = "middleware")]
pub use adapters::middleware::{AuthMiddleware, AuthMiddlewareBuilder};
pub use auth::{
    ApiKeyAuth, Auth, AuthHook, AuthRequest, AuthRetryStrategy, BasicAuth, CompositeAuth,
    ConditionalAuthRetryStrategy, ExponentialAuthRetryStrategy, SimpleAuthRetryStrategy, TokenAuth,
};
pub use breaker::{CircuitBreaker, CircuitBreakerBuilder, CircuitOpen, CircuitState, CircuitTransition};
pub use client::HttpClient;
pub use config::{HttpClientBuilder, HttpClientConfig, HttpClientConfigBuilder};
pub use curl::Curl;
pub use error::HttpClientError;
pub use examined::ExaminedResponse;
pub use hooks::{
    CorrelationId, ErrorHook, FailedCall, HookResult, IgnoringFailures, IntoHookResult, OutgoingRequest,
    RateLimit, RateLimitReader, ReceivedResponse, RequestHook, ResponseHook,
};
pub use logging::Logging;
#[cfg(feature = "tower")]
#[doc(hidden)]
pub use renamed::*;
pub use request::RequestBuilder;
pub use request_many::RequestMany;
pub use response::{BodyStream, HttpResponse};
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
