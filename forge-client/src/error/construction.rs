//! How the client makes its errors.

use std::error::Error;

use bytes::Bytes;
use forge_core::{AuthenticationError, ConfigError, NetworkError};
use http::{Method, StatusCode};

use super::{ErrorKind, HttpClientError, Inner};
use crate::CircuitOpen;
use crate::origin::RequestUrl;

const HAS_TLS: bool = cfg!(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls"));

impl HttpClientError {
    #[cold]
    pub(super) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, request: None, source: None, attempts: 0, body: None }))
    }

    fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    #[cold]
    pub(crate) fn at(mut self, method: &Method, url: &RequestUrl) -> Self {
        self.0.request.get_or_insert_with(|| (method.clone(), url.shown().to_owned()));
        self
    }

    /// The same error of a call that sent this many requests.
    #[cold]
    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_body(mut self, body: Bytes) -> Self {
        self.0.body = Some(body);
        self
    }

    pub(crate) fn builder(field: &'static str, expected: &str) -> Self {
        ConfigError::new(field, expected).into()
    }

    pub(crate) fn redirect(refused: &'static str) -> Self {
        Self::new(ErrorKind::Redirect(refused))
    }

    pub(crate) fn hook(source: Box<dyn Error + Send + Sync>) -> Self {
        Self::new(ErrorKind::Hook).with_source(source)
    }

    pub(crate) fn status(status: StatusCode) -> Self {
        Self::new(ErrorKind::Status(status))
    }

    pub(crate) fn parse(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Parse).with_source(source)
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        Self::new(ErrorKind::BodyTooLarge(limit))
    }

    pub(crate) fn refused(open: CircuitOpen, attempts: u32) -> Self {
        Self::new(ErrorKind::CircuitOpen(attempts)).with_source(open)
    }

    pub(crate) fn request_body(error: reqwest::Error) -> Self {
        Self::new(ErrorKind::RequestBody).with_source(error)
    }

    pub(crate) fn total_timeout() -> Self {
        Self::new(ErrorKind::Timeout)
    }

    pub(crate) fn max_retries(retries: u32, last: Self) -> Self {
        Self::new(ErrorKind::MaxRetries(retries)).with_source(last)
    }

    #[cold]
    pub(crate) fn exchange(error: &reqwest::Error) -> Self {
        let kind = match () {
            () if error.is_timeout() => ErrorKind::Timeout,
            () if is_tls(error) => ErrorKind::Tls,
            () if error.is_connect() => ErrorKind::Connect,
            () if error.is_builder() => ErrorKind::Builder,
            () => ErrorKind::Exchange,
        };
        let failure = Self::new(kind);
        let is_https = error.url().is_some_and(|url| url.scheme() == "https");
        match kind {
            ErrorKind::Timeout => failure,
            ErrorKind::Connect if is_https && !HAS_TLS => failure.with_source(NetworkError::without_tls()),
            _ => failure.with_source(NetworkError::of(error)),
        }
    }
}

/// Looks for an error of the TLS library among the causes.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if is_tls_error(error) {
            return true;
        }
        // `io::Error::source` skips the error that it wraps, which may be another `io::Error`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
    }
    false
}

fn is_tls_error(error: &(dyn Error + 'static)) -> bool {
    #[cfg(any(feature = "rustls", feature = "rustls-no-provider"))]
    if error.is::<rustls::Error>() {
        return true;
    }
    #[cfg(feature = "native-tls")]
    if error.is::<native_tls::Error>() {
        return true;
    }
    let _ = error;
    false
}

impl From<ConfigError> for HttpClientError {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorKind::Builder).with_source(error)
    }
}

impl From<AuthenticationError> for HttpClientError {
    fn from(error: AuthenticationError) -> Self {
        Self::new(ErrorKind::Authentication).with_source(error)
    }
}
