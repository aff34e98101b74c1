//! Tokens that take several calls: an app token buys a user token, and the user token opens the API. This crate is
//! the feature `pipeline` of `requestforge`, which most programs depend on instead.
//!
//! # When to use it
//!
//! Use a pipeline if one token call needs the token of another call. Each call is a *step*. The pipeline caches the
//! token of each step, fetches only the tokens that are missing, and renews the right one after a 401.
//!
//! If one call gives you the token, use a provider alone, such as `requestforge::ClientCredentialsTokenProvider`.
//!
//! | a step | type |
//! | --- | --- |
//! | reads its token from JSON | [`BodyTokenFetcher`] |
//! | reads its token from a header or a cookie | [`HeaderTokenFetcher`] |
//! | does anything else | your own `requestforge::TokenFetcher` |
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use requestforge::{BodyTokenFetcher, ContentType, PipelineTokenProvider, TokenFetchPipeline, TokenManager};
//!
//! # fn run() -> Result<(), requestforge::ConfigError> {
//! let app_token = BodyTokenFetcher::builder("app_token", "https://auth.example.com", "/v1/app/token")
//!     .request_data([
//!         ("grant_type", "client_credentials"),
//!         ("client_id", "app-id"),
//!         ("client_secret", "app-secret"),
//!     ])
//!     .ttl(Duration::from_secs(3600))
//!     .build()?;
//! let user_token = BodyTokenFetcher::builder("user_token", "https://auth.example.com", "/v1/user/token")
//!     .content_type(ContentType::Json)
//!     .request_data([("username", "user@example.com"), ("password", "password123")])
//!     .depends_on(["app_token"])
//!     .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))])
//!     .build()?;
//!
//! let pipeline = TokenFetchPipeline::builder()
//!     .steps([app_token, user_token]) // the token of the last step is the result
//!     .cache_key_prefix("myapp")
//!     .build()?;
//! let manager = TokenManager::new(PipelineTokenProvider::new(pipeline, "myapp"));
//! # drop(manager);
//! # Ok(())
//! # }
//! # run().unwrap();
//! ```
//!
//! Call `manager.get_token().await?`, or give the manager to an `HttpClient`.
//!
//! # Limits
//!
//! - A pipeline has one result, the token of its last step. The builder refuses a step that the last step does not
//!   need.
//! - Steps take no lease of a storage. For one fetch in a fleet of processes, put a manager with the same storage
//!   around the pipeline ([`PipelineTokenProvider`]).
//! - A pipeline does not renew a token with its refresh token: it fetches the step again. A later step can send the
//!   refresh token of an earlier one.
//! - Two pipelines of one process that miss a token at the same moment fetch it once each, unless they share their
//!   steps ([`SharedSteps`]).

#![cfg_attr(docsrs, feature(doc_cfg))]

mod fetcher;
mod graph;
mod pipeline;
mod provider;
#[doc(hidden)]
pub mod renamed;
mod sharing;
mod step;
mod trace;

pub use fetcher::{
    BodyTokenFetcher, ContentType, HeaderTokenFetcher, HttpMethod, HttpTokenFetcher, HttpTokenFetcherBuilder,
    InBody, InHeader, RequestValue,
};
pub use pipeline::{TokenFetchPipeline, TokenFetchPipelineBuilder};
pub use provider::PipelineTokenProvider;
#[doc(hidden)]
pub use renamed::*;
pub use sharing::SharedSteps;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
