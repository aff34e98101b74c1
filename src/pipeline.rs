//! The parts of a [`TokenFetchPipeline`](crate::TokenFetchPipeline): steps that are one HTTP call, and the places
//! in their answers that hold the token.
//!
//! ```
//! use requestforge::pipeline::HttpMethod;
//! use requestforge::{BodyTokenFetcher, HeaderTokenFetcher, TokenFetchPipeline};
//!
//! let session = BodyTokenFetcher::builder("session", "https://auth.example.com", "/session")
//!     .method(HttpMethod::Get)
//!     .token_field("/data/session")
//!     .build()?;
//! let cookie = HeaderTokenFetcher::builder("login", "https://auth.example.com", "/login")
//!     .cookie("JSESSIONID")
//!     .depends_on(["session"])
//!     .request_headers_with(|context| [("X-Session", context.get_token_value("session"))])
//!     .build()?;
//! let pipeline = TokenFetchPipeline::builder().step(session).step(cookie).cache_key_prefix("crm").build()?;
//! # drop(pipeline);
//! # Ok::<_, requestforge::ConfigError>(())
//! ```
//!
//! - A [`BodyTokenFetcher`](crate::BodyTokenFetcher) takes the token from a field of the body, a
//!   [`HeaderTokenFetcher`](crate::HeaderTokenFetcher) from a header or a cookie. For any other step implement
//!   [`TokenFetcher`](crate::TokenFetcher).
//! - If an API's token is a session cookie, send it with `TokenAuth::auth_cookie("JSESSIONID")`.
//! - `depends_on` defines the order. The pipeline fetches steps that do not need each other at the same time. The
//!   last step's token is the result, and `build()` rejects a step that the last one does not need.
//! - If the pipeline has a shared storage, give that to the manager around it too: then one process of all fetches.
//! - Names of steps and the prefix of the keys must not contain `:`.

pub use forge_pipeline::{
    HttpMethod, HttpTokenFetcher, HttpTokenFetcherBuilder, InBody, InHeader, RequestValue, SharedSteps,
    TokenFetchPipelineBuilder,
};
