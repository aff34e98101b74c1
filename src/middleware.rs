//! The same authentication for a `ClientWithMiddleware` of reqwest-middleware.
//!
//! ```
//! use requestforge::middleware::{AuthMiddleware, reqwest_middleware::ClientBuilder};
//! use requestforge::reqwest::{Client, redirect::Policy};
//! use requestforge::TokenManager;
//!
//! # async fn run(manager: TokenManager) -> Result<(), Box<dyn std::error::Error>> {
//! let auth = AuthMiddleware::with_token_auth(manager).origin("https://api.example.com").build()?;
//! let http = Client::builder().redirect(Policy::none()).build()?;
//! let client = ClientBuilder::new(http).with(auth).build();
//! let response = client.get("https://api.example.com/users").send().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A middleware sees no redirects. So the promises about origins hold for the first request only, unless the client
//! follows no redirects, as here. [`HttpClient`](crate::HttpClient) has no such limit.

pub use forge_client::{AuthMiddleware, AuthMiddlewareBuilder, reqwest_middleware};
