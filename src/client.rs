//! The types around an [`HttpClient`](crate::HttpClient): builders, requests and bodies.
//!
//! [`HttpClient::builder`](crate::HttpClient::builder) is the short form. The long form builds a configuration
//! first, for example to share it between clients:
//!
//! ```
//! use std::time::Duration;
//! use requestforge::client::RequestBuilder;
//! use requestforge::{HttpClient, HttpClientConfigBuilder};
//!
//! let config = HttpClientConfigBuilder::new()
//!     .with_base_url("https://api.example.com")
//!     .with_timeout(Duration::from_secs(10))
//!     .with_header("Accept", "application/json")
//!     .build()?;
//! let client = HttpClient::new(config)?;
//!
//! /// The settings that several calls have in common.
//! fn traced(request: RequestBuilder) -> RequestBuilder {
//!     request.header("x-team", "billing").timeout(Duration::from_secs(2))
//! }
//!
//! # async fn run(client: HttpClient) -> Result<(), requestforge::HttpClientError> {
//! let response = traced(client.get("/users/1")).send().await?;
//! println!("{}", response.status_code());
//! # Ok(())
//! # }
//! # drop((run, client, traced));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # One request
//!
//! A request can have another credential than the client ([`auth`](RequestBuilder::auth)), none
//! ([`no_auth`](RequestBuilder::no_auth)), or a token that is fetched for it
//! ([`force_renewal`](RequestBuilder::force_renewal)). [`to_curl`](RequestBuilder::to_curl) shows the request as a
//! command line, with secrets masked. [`request_many`](crate::HttpClient::request_many) sends many requests, a few
//! at a time.
//!
//! # Where a request goes
//!
//! - A reference such as `/users` or `//elsewhere/x` always stays at the origin of the base URL. Only a URL with a
//!   scheme leads to another origin, and the client adds no credentials to such a request.
//! - Only headers that are known to carry no credential, such as `Accept`, `Range` and `traceparent`, follow a
//!   redirect to another origin. Of the default headers only these go to another origin at all.
//!   `with_public_header` adds a name. The log masks the value of every header that may carry a credential.
//! - Default headers that you set on the `reqwest` client, through `with_http`, belong to `reqwest`: they go to
//!   every origin.
//! - The API may be plain `http`. Others on the network can then read the credential, and `build()` logs one
//!   warning, unless you call `with_plain_http_credentials()`.
//! - Requests to other hosts go through the proxies that the environment names; requests to this machine never do.

pub use forge_client::{BodyStream, Curl, HttpClientBuilder, RequestBuilder, RequestMany};
