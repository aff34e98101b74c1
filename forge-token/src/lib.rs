//! Gets access tokens, caches them, renews them, and joins concurrent fetches into one.
//!
//! ```
//! use forge_token::{ClientCredentialsTokenProvider, TokenManager};
//!
//! # fn run() -> Result<(), forge_core::ConfigError> {
//! let provider = ClientCredentialsTokenProvider::builder(
//!     "https://auth.example.com/oauth/token",
//!     "your-client-id",
//!     "your-client-secret",
//! )
//! .service_name("example-api")
//! .scope("read write")
//! .build()?;
//! let manager = TokenManager::new(provider);
//! # drop(manager);
//! # Ok(())
//! # }
//! # run().unwrap();
//! ```
//!
//! then `manager.get_token().await?`, as often as you like: one token call per expiry.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod manager;
mod provider;
#[doc(hidden)]
pub mod renamed;
mod rt;
mod transport;

pub use manager::{TokenManager, TokenManagerBuilder, TokenProvenance, TokenStatus};
pub use provider::{
    AuthMethod, ClientCredentialsGrant, ClientCredentialsTokenProvider, Grant, OAuth2TokenProvider,
    OAuth2TokenProviderBuilder, PasswordGrant, PasswordGrantTokenProvider,
};
#[doc(hidden)]
pub use renamed::*;
pub use transport::{
    HttpTransport, TokenAttempt, TokenConnection, TokenEndpoint, TokenRequest, TokenResponse, TokenTransport,
    call_with_one_retry,
};

pub use reqwest;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
