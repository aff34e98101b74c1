//! The same authentication for a `ClientWithMiddleware` of reqwest-middleware.
//!
//! ```
//! use requestforge::middleware::{AuthMiddleware, reqwest_middleware::ClientBuilder};
//! use requestforge::{TokenManager, reqwest};
//!
//! # fn run(manager: TokenManager) -> Result<(), requestforge::ConfigError> {
//! let auth = AuthMiddleware::with_token_auth(manager).origin("https://api.example.com").build()?;
//! let client = ClientBuilder::new(reqwest::Client::new()).with(auth).build();
//! # Ok(())
//! # }
//! ```

pub use forge_client::{AuthMiddleware, AuthMiddlewareBuilder, reqwest_middleware};
