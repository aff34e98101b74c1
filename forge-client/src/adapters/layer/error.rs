use std::error::Error;
use std::fmt;

use forge_core::AuthenticationError;

/// Why an [`AuthService`](super::AuthService) returned no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthServiceError<E> {
    /// The token source got no token. The service did not send the request; or the server rejected its token, and the
    /// renewal failed.
    Authentication(AuthenticationError),
    /// The inner service failed.
    Service(E),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> AuthServiceError<E> {
    /// The inner error, boxed as most layers of tower expect it: `map_err(AuthServiceError::into_boxed)`.
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
            Self::Authentication(_) => f.write_str("authentication failed"),
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
