//! The parts of a [`TokenFetchPipeline`](crate::TokenFetchPipeline): steps that are one HTTP call, and where their
//! answers hold the token.
//!
//! ```
//! use requestforge::pipeline::HttpMethod;
//! use requestforge::{BodyTokenFetcher, TokenFetchPipeline};
//!
//! let session = BodyTokenFetcher::builder("session", "https://auth.example.com", "/session")
//!     .method(HttpMethod::Get)
//!     .token_field("/data/session")
//!     .build()?;
//! let pipeline = TokenFetchPipeline::builder().step(session).cache_key_prefix("crm").build()?;
//! # drop(pipeline);
//! # Ok::<_, requestforge::ConfigError>(())
//! ```

pub use forge_pipeline::{
    HttpMethod, HttpTokenFetcher, HttpTokenFetcherBuilder, InBody, InHeader, RequestValue, SharedSteps,
    TokenFetchPipelineBuilder,
};
