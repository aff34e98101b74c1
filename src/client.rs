//! The types around an [`HttpClient`](crate::HttpClient): builders, requests and bodies.
//!
//! ```
//! use std::time::Duration;
//! use requestforge::HttpClient;
//! use requestforge::client::RequestBuilder;
//!
//! /// What several calls have in common.
//! fn traced(request: RequestBuilder) -> RequestBuilder {
//!     request.header("x-team", "billing").timeout(Duration::from_secs(2))
//! }
//!
//! # async fn run() -> Result<(), requestforge::HttpClientError> {
//! let client = HttpClient::builder("https://api.example.com").build()?;
//! let response = traced(client.get("/users/1")).send().await?;
//! println!("{}", response.status_code());
//! # Ok(())
//! # }
//! ```

pub use forge_client::{BodyStream, Curl, HttpClientBuilder, RequestBuilder, RequestMany};
