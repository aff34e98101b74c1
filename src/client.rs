//! The types around an [`HttpClient`](crate::HttpClient): builders, requests, bodies.
//!
//! ```
//! use futures_util::StreamExt;
//! use requestforge::HttpClient;
//!
//! # async fn run() -> Result<(), requestforge::HttpClientError> {
//! let client = HttpClient::builder("https://api.example.com").build()?;
//! let requests = ["/users/1", "/users/2"].map(|path| client.get(path));
//! let mut responses = client.request_many(requests).max_workers(5).send();
//! while let Some((index, response)) = responses.next().await {
//!     println!("{index}: {}", response?.status_code());
//! }
//! # Ok(())
//! # }
//! ```

pub use forge_client::{BodyStream, Curl, HttpClientBuilder, RequestBuilder, RequestMany};
