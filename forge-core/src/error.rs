//! The errors of this crate, one file for each. No error contains a secret.

mod authentication;
mod config;
mod network;
mod oauth_error_code;
mod storage;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use authentication::{AuthenticationError, AuthenticationErrorKind};
pub use config::ConfigError;
pub use network::NetworkError;
pub use oauth_error_code::OAuthErrorCode;
pub use storage::StorageError;

/// Writes an error and its causes in one line, for the `Debug` of an error that a `main` may return.
///
/// # Errors
///
/// The formatter fails.
pub fn write_chain(error: &(dyn Error + 'static), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    std::iter::successors(error.source(), |&cause| cause.source())
        .try_for_each(|cause| write!(f, ": {cause}"))
}

type Source = Arc<dyn Error + Send + Sync + 'static>;

/// The error inside the `Arc`. Callers can downcast it; they could not downcast the `Arc`.
fn as_source(source: Option<&Source>) -> Option<&(dyn Error + 'static)> {
    source.map(|source| &**source as &(dyn Error + 'static))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_main_prints_reads_as_a_sentence() {
        let io = || std::io::Error::other("no such file");
        let config = ConfigError::new("secret", "a file that can be read").with_source(io());
        assert_eq!(format!("{config:?}"), "`secret`: expected a file that can be read: no such file");
        let failed = AuthenticationError::new("crm", AuthenticationErrorKind::Other).with_source(config);
        let chain = format!("{failed}: `secret`: expected a file that can be read: no such file");
        assert_eq!(format!("{failed:?}"), chain);
        assert_eq!(format!("{failed:#?}"), chain);
    }

    #[test]
    fn a_source_can_be_downcast() {
        let io = || std::io::Error::other("io");
        let errors: [Box<dyn Error>; 3] = [
            Box::new(AuthenticationError::new("s", AuthenticationErrorKind::Other).with_source(io())),
            Box::new(ConfigError::new("field", "x").with_source(io())),
            Box::new(StorageError::new("x").with_source(io())),
        ];
        for error in errors {
            assert!(error.source().is_some_and(<dyn Error>::is::<std::io::Error>));
        }
    }
}
