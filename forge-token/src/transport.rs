//! The one way to call a token endpoint.

mod answer;
mod clients;
mod endpoint;
mod failure;
mod http_transport;
mod presentable;
mod repetition;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use forge_core::{AuthenticationError, ConfigError, async_trait};
use http::{HeaderMap, Method, StatusCode};

pub use endpoint::TokenEndpoint;
pub use http_transport::HttpTransport;
pub use repetition::{TokenAttempt, call_with_one_retry};

/// Carries one call to a token endpoint and back. [`HttpTransport`] does it with `reqwest`.
///
/// An implementation of your own must keep the promises of [`HttpTransport`]: it follows no redirect, repeats
/// no call, and limits a response in size and time. If it pools connections, it should open a new one for a
/// request that [asks for one](TokenRequest::connection), and call
/// [`with_no_answer`](AuthenticationError::with_no_answer) on the error if the connection ended before a
/// response came, so that the provider repeats the call. Without these two, a call fails whenever the server
/// has just closed a pooled connection.
#[async_trait]
pub trait TokenTransport: Send + Sync + fmt::Debug {
    /// Sends the request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// There was no answer, or not within the bounds.
    async fn call(&self, request: TokenRequest) -> Result<TokenResponse, AuthenticationError>;

    /// Makes ready for calls to this endpoint, so that settings which cannot be are told when a provider
    /// is built and not by its first call. Default: nothing is to be made ready.
    ///
    /// # Errors
    ///
    /// There can be no calls with these settings.
    fn prepare(&self, endpoint: &TokenEndpoint) -> Result<(), ConfigError> {
        let _ = endpoint;
        Ok(())
    }
}

/// A call to a token endpoint. `Debug` shows neither headers nor body.
#[derive(Clone)]
#[non_exhaustive]
pub struct TokenRequest {
    /// Where to: checked to be https, loopback or expressly allowed.
    pub endpoint: TokenEndpoint,
    /// `POST` for all grants (RFC 6749 3.2); some endpoints that follow no RFC want `GET`.
    pub method: Method,
    /// What goes with it, credentials among it. [`HttpTransport`] refuses `Content-Length` and
    /// `Transfer-Encoding`, which follow from the body.
    pub headers: HeaderMap,
    /// The encoded body.
    pub body: Bytes,
    /// How long the call may take; `None`: as long as the transport allows any call.
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
    /// A POST of this body, without headers.
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

/// A token endpoint's answer. `Debug` shows the status only.
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
    /// An answer without headers.
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
