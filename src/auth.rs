//! Authentication of requests: kinds of credentials, the verdict on a response, and the replay after a rejection.
//!
//! A client takes one [`Auth`]:
//!
//! | credential | how |
//! | --- | --- |
//! | tokens of a provider or manager | `with_token_auth`, or [`TokenAuth`](crate::TokenAuth) with settings |
//! | a fixed token | `with_bearer_token`, or [`StaticTokenSource`](crate::StaticTokenSource) |
//! | a token from a closure | [`token_source_fn`](crate::token_source_fn) |
//! | a key in a header | `with_api_key`, [`ApiKeyAuth`](crate::ApiKeyAuth) |
//! | a login | `with_basic_auth`, [`BasicAuth`](crate::BasicAuth) |
//! | several of these | [`CompositeAuth`](crate::CompositeAuth) |
//! | anything else | an [`AuthHook`] of your own, with `with_auth` |
//!
//! The client adds the credential only at the origin of the base URL, and at the origins that
//! `with_credential_origin` names. If it gets no credential, it does not send the request.
//!
//! # After a 401
//!
//! A response with `invalid_token`, with another error or without a challenge rejects the token. The token source
//! then renews the token once for all requests that carried it. The client sends each of them once more, if its
//! body can be sent again. `insufficient_scope` and `invalid_request` never cause a renewal: a new token has the
//! same rights. An [`AuthRetryStrategy`] decides how often and after which delay the client replays a request. The
//! default is once, at once.
//!
//! # Without `HttpClient`
//!
//! An SDK with an HTTP client of its own asks a [`TokenSource`](crate::TokenSource) for a
//! [`Credential`](crate::Credential). [`AuthVerdict`] says whether the response accepts or rejects it. With the feature
//! `client`, an [`AuthSession`] authenticates one call without I/O: it keeps origins and exclusions, adds the
//! credential, and says after each response whether to renew and replay. Its own example is a whole loop.
//!
//! ```
//! use requestforge::auth::AuthVerdict;
//! use requestforge::http::{HeaderMap, StatusCode};
//! use requestforge::{StaticTokenSource, TokenData, TokenSource};
//!
//! # async fn run() -> Result<(), requestforge::AuthenticationError> {
//! let source = StaticTokenSource::new(TokenData::new("abc"))?;
//! let credential = source.get_token().await?;
//! // Send a request with `credential.apply_to(&mut parts)?`. These two are the head of its response:
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
    ProofRequest, TokenBinding, contains_secret, looks_like_credential_name,
};

#[cfg(feature = "client")]
pub use forge_client::{
    Auth, AuthHook, AuthRequest, AuthRetryStrategy, AuthSession, AuthSessionConfig, AuthSessionConfigBuilder,
    ExaminedResponse, IntoTokenAuth, NextStep, ReplaySchedule, TokenFetch, TokenRenewal,
};
