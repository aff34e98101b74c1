//! Around a [`TokenManager`](crate::TokenManager): its settings, its status, the clock, and the requirement that a
//! caller has of a token.
//!
//! ```
//! use requestforge::{ClientCredentialsTokenProvider, TokenManager};
//! use requestforge::token::TokenStatus;
//!
//! # async fn run(provider: ClientCredentialsTokenProvider) -> Result<(), Box<dyn std::error::Error>> {
//! let manager = TokenManager::builder(provider).build()?;
//! let status: TokenStatus = manager.status(); // for a readiness probe: sends nothing and never waits
//! # drop(status);
//! let token = manager.get_token().await?; // cached, or fetched
//! println!("expires at {:?}", token.expires_at());
//! # Ok(())
//! # }
//! ```
//!
//! # When a token is renewed
//!
//! The first use in the last 5 minutes before a token's expiry starts a renewal in the background. Callers wait
//! only in the last 30 seconds; if the life of a token is short, in its second half at most. If the renewal fails,
//! the cached token stays in use.
//!
//! Failures back off. The manager honours `Retry-After` up to five minutes while it has no valid token, and up to
//! an hour while it has one (`max_retry_after`). It tries a changed secret at once.
//!
//! # Refresh tokens
//!
//! After a failed refresh the manager gets a token by the provider's own grant (client credentials, password). It
//! does not resend a refresh token that the server may have used up; the documentation of
//! [`TokenManager`](crate::TokenManager) has the table. A provider that can only refresh returns `false` from
//! [`has_full_grant`](crate::TokenProvider::has_full_grant). Its errors say when a person must log in again
//! ([`needs_login`](crate::AuthenticationError::needs_login)).
//!
//! If your issuer rotates refresh tokens, persist them in an `on_refresh_token` hook. The manager waits up to 5 s
//! for the hook (`on_refresh_token_timeout`), and hands the token out even if the hook fails.
//!
//! # Without `async`
//!
//! With the feature `blocking`, `requestforge::blocking::Tokens` answers on the caller's thread:
//!
//! ```
//! # #[cfg(feature = "blocking")]
//! # fn run(manager: requestforge::TokenManager) -> Result<(), Box<dyn std::error::Error>> {
//! use requestforge::blocking::Tokens;
//!
//! let tokens = Tokens::new(manager); // clones of the manager share its token with tasks and clients
//! println!("expires at {:?}", tokens.get_token()?.expires_at());
//! # Ok(())
//! # }
//! ```
//!
//! Threads share one fetch and one renewal as tasks do, and the background renewal goes on while no thread calls.
//! Within an async runtime these calls return an error.

pub use forge_core::{CachingProvider, Clock, ClockReading, SystemClock, TokenId, TokenRequirement};
pub use forge_token::{TokenDependency, TokenManagerBuilder, TokenProvenance, TokenStatus};
