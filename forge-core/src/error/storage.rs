use std::error::Error;
use std::fmt;

use super::{Source, as_source};

/// A token storage could not do what it was asked. A manager goes on without it.
#[derive(Clone, Debug)]
pub struct StorageError {
    message: String,
    unsent: bool,
    unstorable: bool,
    source: Option<Source>,
}

impl StorageError {
    /// An error with what a person should read. Put no secret in it.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), unsent: false, unstorable: false, source: None }
    }

    /// Says that the storage was not asked at all, so that nothing can have come of it. Without this a
    /// failed change may have been made all the same.
    #[must_use]
    pub fn with_nothing_sent(mut self) -> Self {
        self.unsent = true;
        self
    }

    /// An error for a token that no attempt can store, because its record could not be read back; the record
    /// is too long, for example. The storage was not asked. A manager keeps such a token in memory and warns
    /// once.
    #[must_use]
    pub fn unstorable(message: impl Into<String>) -> Self {
        Self { unsent: true, unstorable: true, ..Self::new(message) }
    }

    /// Whether the cause is the token itself, so that storing it again would fail again.
    #[must_use]
    pub fn is_unstorable(&self) -> bool {
        self.unstorable
    }

    /// The storage was not asked, for certain.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.unsent
    }

    /// Adds the cause. Neither its text nor that of its own causes may hold a secret.
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
