//! Several token calls in a row: the app token that buys the user token that opens the API. Each step is
//! cached by itself, and only what is missing is fetched.
//!
//! ```
//! use std::time::Duration;
//! use forge_pipeline::{BodyTokenFetcher, ContentType, PipelineTokenProvider, TokenFetchPipeline};
//! use forge_token::TokenManager;
//!
//! # fn run() -> Result<(), forge_core::ConfigError> {
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
//!     .steps([app_token, user_token])
//!     .cache_key_prefix("myapp")
//!     .build()?;
//! let manager = TokenManager::new(PipelineTokenProvider::new(pipeline, "myapp"));
//! # drop(manager);
//! # Ok(())
//! # }
//! # run().unwrap();
//! ```
//!
//! then `manager.get_token().await?`, or hand the manager to a client.

mod builder;
mod fetcher;
mod graph;
mod pipeline;
mod provider;
#[doc(hidden)]
pub mod renamed;
mod sharing;
mod step;
mod trace;

pub use builder::TokenFetchPipelineBuilder;
pub use fetcher::{
    BodyTokenFetcher, ContentType, HeaderTokenFetcher, HttpMethod, HttpTokenFetcher, HttpTokenFetcherBuilder,
    InBody, InHeader, RequestValue,
};
pub use pipeline::TokenFetchPipeline;
pub use provider::PipelineTokenProvider;
#[doc(hidden)]
pub use renamed::*;
pub use sharing::SharedSteps;
