use std::error::Error;
use std::fmt;

use super::{Source, as_source};

/// A failure of a token storage. A manager then continues without the storage.
#[derive(Clone, Debug)]
pub struct StorageError {
    message: String,
    unsent: bool,
    unstorable: bool,
    source: Option<Source>,
}

impl StorageError {
    /// An error with a message for people. Do not put a secret in it.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), unsent: false, unstorable: false, source: None }
    }

    /// Records that the storage received nothing, so that it certainly made no change. Without this call a manager
    /// assumes that the storage may have made the change.
    #[must_use]
    pub fn with_nothing_sent(mut self) -> Self {
        self.unsent = true;
        self
    }

    /// An error for a token that no attempt can store, because its record could not be read back; the record is too
    /// long, for example. The storage received nothing. A manager keeps such a token in memory and warns once.
    #[must_use]
    pub fn unstorable(message: impl Into<String>) -> Self {
        Self { unsent: true, unstorable: true, ..Self::new(message) }
    }

    /// Whether the token itself is the cause, so that storing it again fails again.
    #[must_use]
    pub fn is_unstorable(&self) -> bool {
        self.unstorable
    }

    /// Whether the storage certainly received nothing.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.unsent
    }

    /// Adds the cause. Neither its text nor the texts of its own causes may contain a secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        self.source = Some(Source::from(source.into()));
        self
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token storage: {}", self.message)
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        as_source(self.source.as_ref())
    }
}
