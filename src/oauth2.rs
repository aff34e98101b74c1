//! The parts of a token call (RFC 6749): grants, client authentication, the endpoint and the transport.
//!
//! [`ClientCredentialsTokenProvider`](crate::ClientCredentialsTokenProvider) and
//! [`PasswordGrantTokenProvider`](crate::PasswordGrantTokenProvider) are [`OAuth2TokenProvider`]s with a grant. A
//! provider of your own can use the same [`TokenEndpoint`]: it authenticates the client, bounds the call and reads
//! the answer.
//!
//! ```
//! use requestforge::ClientCredentialsTokenProvider;
//! use requestforge::oauth2::{ClientCredentials, OAuth2TokenProvider};
//!
//! let provider: OAuth2TokenProvider<ClientCredentials> = ClientCredentialsTokenProvider::builder(
//!     "https://auth.example.com/oauth/token",
//!     "your-client-id",
//!     "your-client-secret",
//! )
//! .build()?;
//! # drop(provider);
//! # Ok::<_, requestforge::ConfigError>(())
//! ```

pub use forge_core::{ExchangeError, InvalidTokenResponse, OAuthErrorCode, ResponseFields, TimeFormat};
pub use forge_token::{
    ClientCredentials, Grant, HttpTransport, OAuth2TokenProvider, OAuth2TokenProviderBuilder, Password,
    TokenAttempt, TokenConnection, TokenEndpoint, TokenRequest, TokenResponse, TokenTransport,
    call_repeatably,
};
