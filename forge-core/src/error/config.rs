use std::error::Error;
use std::fmt;

use super::{Source, as_source, write_chain};

/// An invalid setting. The error names the field and what it expects, never the value.
///
/// ```
/// use requestforge::ConfigError;
///
/// let error = ConfigError::new("timeout", "a positive duration");
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
    /// An error for a field whose value is not what the field expects.
    #[must_use]
    pub fn new(field: &'static str, expected: impl Into<String>) -> Self {
        Self { field, expected: expected.into(), source: None }
    }

    /// Adds the cause. Neither its text nor the texts of its own causes may contain a secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        self.source = Some(Source::from(source.into()));
        self
    }

    /// The same error for another field, for a check that several fields share.
    #[must_use]
    pub fn with_field(mut self, field: &'static str) -> Self {
        self.field = field;
        self
    }

    /// A description of the values that the field accepts.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The name of the invalid field.
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

/// For people: a `main` that returns the error prints this.
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
