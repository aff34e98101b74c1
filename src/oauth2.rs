//! The parts of a token call (RFC 6749): grants, client authentication, the endpoint and the transport.
//!
//! [`ClientCredentialsTokenProvider`](crate::ClientCredentialsTokenProvider) and
//! [`PasswordGrantTokenProvider`](crate::PasswordGrantTokenProvider) are [`OAuth2TokenProvider`]s with a grant. A
//! provider of your own can use the same [`TokenEndpoint`]: it authenticates the client, bounds the call and reads
//! the answer.
//!
//! ```
//! use requestforge::ClientCredentialsTokenProvider;
//! use requestforge::oauth2::{ClientCredentialsGrant, OAuth2TokenProvider};
//!
//! let provider: OAuth2TokenProvider<ClientCredentialsGrant> = ClientCredentialsTokenProvider::builder(
//!     "https://auth.example.com/oauth/token",
//!     "your-client-id",
//!     "your-client-secret",
//! )
//! .build()?;
//! # drop(provider);
//! # Ok::<_, requestforge::ConfigError>(())
//! ```

pub use forge_core::{InvalidTokenResponse, NetworkError, OAuthErrorCode, ResponseFields, TimeFormat};
pub use forge_token::{
    ClientCredentialsGrant, Grant, HttpTransport, OAuth2TokenProvider, OAuth2TokenProviderBuilder,
    PasswordGrant, TokenAttempt, TokenConnection, TokenEndpoint, TokenRequest, TokenResponse, TokenTransport,
    call_with_one_retry,
};
