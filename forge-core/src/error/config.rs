use std::error::Error;
use std::fmt;

use super::{Source, as_source, write_chain};

/// A setting that cannot be: names the field and what was expected there, never the value.
///
/// ```
/// let error = forge_core::ConfigError::new("timeout", "a positive duration");
/// assert_eq!(error.to_string(), "`timeout`: expected a positive duration");
/// assert_eq!(error.field(), "timeout");
/// ```
#[derive(Clone)]
pub struct ConfigError {
    field: &'static str,
    expected: String,
    source: Option<Source>,
}

impl ConfigError {
    /// An error for a field that does not hold what is expected.
    #[must_use]
    pub fn new(field: &'static str, expected: impl Into<String>) -> Self {
        Self { field, expected: expected.into(), source: None }
    }

    /// Adds the cause. Neither its text nor that of its own causes may hold a secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        self.source = Some(Source::from(source.into()));
        self
    }

    /// The same of another field, whose setting was checked as this one.
    #[must_use]
    pub fn with_field(mut self, field: &'static str) -> Self {
        self.field = field;
        self
    }

    /// What was expected there.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The field that is wrong.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}", self.field, self.expected)
    }
}

/// For people, as this is what a `main` that returns the error prints.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(self, f)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        as_source(self.source.as_ref())
    }
}
