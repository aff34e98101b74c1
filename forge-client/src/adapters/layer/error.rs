use std::error::Error;
use std::fmt;

use forge_core::AuthenticationError;

/// Why an [`AuthService`](super::AuthService) has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthServiceError<E> {
    /// No token could be had. The request was not sent; or it was rejected, and the renewal failed.
    Authentication(AuthenticationError),
    /// The inner service failed.
    Service(E),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> AuthServiceError<E> {
    /// The error within, as most of tower's layers want one: `map_err(AuthServiceError::into_boxed)`.
    #[must_use]
    pub fn into_boxed(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Authentication(error) => error.into(),
            Self::Service(error) => error.into(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for AuthServiceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication(_) => f.write_str("no token could be had"),
            Self::Service(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for AuthServiceError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Authentication(error) => Some(error),
            // `Display` shows the error itself.
            Self::Service(error) => error.source(),
        }
    }
}
