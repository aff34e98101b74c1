//! Authentication of requests: kinds of credentials, what a response says of them, and the replay after a
//! rejection.
//!
//! A client takes one [`Auth`]: tokens ([`TokenAuth`](crate::TokenAuth)), a key, a login, several of these, or an
//! [`AuthHook`] of your own. An SDK that has an HTTP client of its own needs no `HttpClient`: it asks a
//! [`TokenSource`](crate::TokenSource) for a [`Credential`](crate::Credential), and [`AuthVerdict`] says what the
//! response means for it.
//!
//! ```
//! use requestforge::auth::AuthVerdict;
//! use requestforge::http::{HeaderMap, StatusCode};
//! use requestforge::{StaticTokenSource, TokenData, TokenSource};
//!
//! # async fn run() -> Result<(), requestforge::AuthenticationError> {
//! let source = StaticTokenSource::new(TokenData::new("abc"))?;
//! let credential = source.get_token().await?;
//! // Send a request with `credential.apply_to(&mut parts)?`; this stands for the head of its response.
//! let (status, headers) = (StatusCode::UNAUTHORIZED, HeaderMap::new());
//! match AuthVerdict::of(status, &headers) {
//!     AuthVerdict::Accepted => credential.mark_accepted(),
//!     AuthVerdict::TokenRejected => {
//!         let another = source.refresh_rejected(&credential).await?; // `None`: do not replay
//!         assert!(another.is_none(), "this source has only one token");
//!     }
//!     _ => {}
//! }
//! # Ok(())
//! # }
//! ```

pub use forge_core::{
    AuthVerdict, ClientIdentity, IntoTokenSource, LoadedClientIdentity, NonceStore, ProofOfPossession,
    ProofRequest, contains_secret, looks_like_credential_name,
};

#[cfg(feature = "client")]
pub use forge_client::{
    Auth, AuthHook, AuthRequest, AuthRetryStrategy, AuthSession, AuthSessionConfig, AuthSessionConfigBuilder,
    ExaminedResponse, NextStep, ReplaySchedule, TokenFetch, TokenRenewal,
};
