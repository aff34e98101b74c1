//! The parts of a token call (RFC 6749): grants, client authentication, the endpoint and the transport.
//!
//! [`ClientCredentialsTokenProvider`](crate::ClientCredentialsTokenProvider) and
//! [`PasswordGrantTokenProvider`](crate::PasswordGrantTokenProvider) are [`OAuth2TokenProvider`]s with a grant. For
//! an API with a flow of its own, implement [`TokenProvider`](crate::TokenProvider). Your provider can use the same
//! parts: a [`TokenEndpoint`] is the checked URL, a [`TokenTransport`] sends a [`TokenRequest`] to it within limits of
//! time and size, and [`TokenResponse::read_token`] reads the token from the response.
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
//!
//! # The token URL
//!
//! It must be `https`, or on this machine, unless you call `danger_accept_plain_http(true)`. A redirect of the
//! token endpoint is an error: the client secret would go along. Pass a secret in the query of the URL, such as an
//! API key, with `secret_query_param`; the builder rejects a URL that contains one.
//!
//! # Repetitions
//!
//! A provider repeats a token call once if the call failed quickly with a transient error, or if the server had
//! just closed the idle connection. A provider sends a refresh once, over a new connection.
//!
//! # Secrets
//!
//! A [`SecretSource`](crate::SecretSource) is a value, a variable, a closure or a file. The provider reads it
//! before each token call, so a secret can rotate. A file must be a regular file of at most 64 KiB. One line end at
//! its end and a byte order mark are not part of the secret.
//!
//! # The cache key
//!
//! Managers over one storage share a token if their providers have the same cache key. The key covers all settings
//! that make a token different, and no secret. If two providers differ only in a closure or a transport, in the
//! client certificate for example, give each a different `key_part`. The name of a service must not contain `:`.

pub use forge_core::{InvalidTokenResponse, NetworkError, OAuthErrorCode, ResponseFields, TimeFormat};
pub use forge_token::{
    ClientCredentialsGrant, Grant, HttpTransport, OAuth2TokenProvider, OAuth2TokenProviderBuilder,
    PasswordGrant, TokenAttempt, TokenConnection, TokenEndpoint, TokenRequest, TokenResponse, TokenTransport,
    call_with_one_retry,
};
