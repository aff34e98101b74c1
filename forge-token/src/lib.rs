//! The token manager of `requestforge`, and its OAuth 2.0 providers.
//!
//! Most programs depend on `requestforge`, which re-exports the names of this crate. Depend on `forge-token` directly if
//! you use another HTTP client and only need tokens.
//!
//! A [`TokenManager`] caches the token of one provider. It renews the token before it expires, and joins concurrent
//! callers into one fetch. The provider gets tokens from the issuer: a [`ClientCredentialsTokenProvider`], a
//! [`PasswordGrantTokenProvider`], or your own implementation of [`TokenProvider`](forge_core::TokenProvider).
//!
//! ```
//! use requestforge::{ClientCredentialsTokenProvider, TokenManager};
//!
//! let provider = ClientCredentialsTokenProvider::builder(
//!     "https://auth.example.com/oauth/token",
//!     "your-client-id",
//!     "your-client-secret",
//! )
//! .service_name("example-api")
//! .scope("read write")
//! .build()?;
//! let manager = TokenManager::new(provider);
//!
//! # async fn call(manager: TokenManager) -> Result<(), requestforge::AuthenticationError> {
//! // Only the first call, and then one call per expiry, contacts the token endpoint.
//! let credential = manager.get_token().await?;
//! println!("the token expires at {:?}", credential.expires_at());
//! # Ok(()) }
//! # drop(call(manager));
//! # Ok::<_, requestforge::ConfigError>(())
//! ```
//!
//! # Limits
//!
//! A manager fetches in a task of its own, so it needs a tokio runtime. Without a storage the token lives in this process
//! only. To share it between processes, pass a storage such as `RedisTokenStorage` to
//! [`TokenManagerBuilder::storage`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod manager;
mod provider;
#[doc(hidden)]
pub mod renamed;
mod rt;
mod transport;

pub use manager::{TokenDependency, TokenManager, TokenManagerBuilder, TokenProvenance, TokenStatus};
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

/// The HTTP client underneath, for [`HttpTransport::with`].
pub use reqwest;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
