//! Calls token endpoints: the request, the response, the transport between them, and the repetition after a failure.

mod clients;
mod endpoint;
mod failure;
mod http_transport;
mod presentable;
mod repetition;
mod response;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use forge_core::{AuthenticationError, ConfigError, async_trait};
use http::{HeaderMap, Method, StatusCode};

pub use endpoint::TokenEndpoint;
pub use http_transport::HttpTransport;
pub use repetition::{TokenAttempt, call_with_one_retry};

/// Sends one call to a token endpoint and returns the response. [`HttpTransport`] does this with `reqwest`.
///
/// An implementation of your own must keep the promises of [`HttpTransport`]: it follows no redirect, repeats
/// no call, and limits a response in size and time. If it pools connections, it should open a new one for a
/// request that [asks for one](TokenRequest::connection), and call
/// [`with_no_answer`](AuthenticationError::with_no_answer) on the error if the connection ended before a
/// response came, so that the provider repeats the call. Without these two, a call fails whenever the server
/// has just closed a pooled connection.
#[async_trait]
pub trait TokenTransport: Send + Sync + fmt::Debug {
    /// Sends the request and reads the whole response, with any status.
    ///
    /// # Errors
    ///
    /// There was no response, or it exceeds the limits of size or time.
    async fn call(&self, request: TokenRequest) -> Result<TokenResponse, AuthenticationError>;

    /// Prepares calls to this endpoint, so that the `build` of a provider reports invalid settings, and not the first
    /// call. Default: does nothing.
    ///
    /// # Errors
    ///
    /// The settings are invalid.
    fn prepare(&self, endpoint: &TokenEndpoint) -> Result<(), ConfigError> {
        let _ = endpoint;
        Ok(())
    }
}

/// A call to a token endpoint. `Debug` shows neither headers nor body.
#[derive(Clone)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The endpoint. Its URL is https or loopback, or the user has accepted plain http.
    pub endpoint: TokenEndpoint,
    /// The method. It is `POST` for all grants (RFC 6749 3.2); some endpoints that follow no RFC need `GET`.
    pub method: Method,
    /// The headers, including credentials. [`HttpTransport`] refuses `Content-Length` and `Transfer-Encoding`, which follow
    /// from the body.
    pub headers: HeaderMap,
    /// The encoded body.
    pub body: Bytes,
    /// How long the call may take. `None`: the transport's own limit applies.
    pub timeout: Option<Duration>,
    /// The connection to use. Default: [`TokenConnection::Any`].
    pub connection: TokenConnection,
}

/// Which connection a token call may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenConnection {
    /// A pooled connection or a new one. The server may be closing a pooled one at this very moment.
    #[default]
    Any,
    /// A new connection, closed after the call. For calls that must not be sent twice, and for repetitions.
    New,
}

impl TokenRequest {
    /// A POST with this body, without headers.
    #[must_use]
    pub fn post(endpoint: TokenEndpoint, body: Bytes) -> Self {
        Self {
            endpoint,
            method: Method::POST,
            headers: HeaderMap::new(),
            body,
            timeout: None,
            connection: TokenConnection::Any,
        }
    }

    /// A GET, without headers.
    #[must_use]
    pub fn get(endpoint: TokenEndpoint) -> Self {
        Self { method: Method::GET, ..Self::post(endpoint, Bytes::new()) }
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("endpoint", &self.endpoint)
            .field("method", &self.method)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// A token endpoint's response. `Debug` shows only the status.
#[derive(Clone)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, decoded.
    pub body: Bytes,
}

impl TokenResponse {
    /// A response without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: Bytes) -> Self {
        Self { status, headers: HeaderMap::new(), body }
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse").field("status", &self.status).finish_non_exhaustive()
    }
}
