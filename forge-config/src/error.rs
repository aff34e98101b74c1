use std::error::Error;
use std::fmt;

use forge_core::{ConfigError, write_chain};

/// An invalid setting of a service. The error names the service, the field or the variable, and the expected value. It
/// never shows the value.
///
/// ```
/// use requestforge::ServiceConfig;
///
/// let config: ServiceConfig = toml::from_str(r#"base_url = "/users""#)?;
/// let error = config.client().unwrap_err();
/// assert_eq!(error.to_string(), "`base_url`: expected an absolute http or https URL");
/// assert_eq!(error.fields(), ["base_url"]);
/// # Ok::<_, toml::de::Error>(())
/// ```
pub struct ServiceConfigError(Box<Inner>);

struct Inner {
    service: Option<String>,
    fields: Vec<String>,
    is_unknown_variable: bool,
    cause: ConfigError,
}

impl ServiceConfigError {
    pub(crate) fn new(service: Option<&str>, fields: Vec<String>, cause: ConfigError) -> Self {
        let service = service.map(str::to_owned);
        Self(Box::new(Inner { service, fields, is_unknown_variable: false, cause }))
    }

    pub(crate) fn into_unknown_variable(mut self) -> Self {
        self.0.is_unknown_variable = true;
        self
    }

    /// The name of the service, if it has one.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    /// The invalid field or variable, or several that contradict each other.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.0.fields
    }
}

impl fmt::Display for ServiceConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = &self.0.service {
            write!(f, "service `{service}`: ")?;
        }
        let unknown = if self.0.is_unknown_variable { "unknown variable, " } else { "" };
        write!(f, "`{}`: {unknown}expected {}", self.0.fields.join("` and `"), self.0.cause.expected())
    }
}

/// Prints the message and its sources, because a `main` that returns the error prints this form.
impl fmt::Debug for ServiceConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(self, f)
    }
}

impl Error for ServiceConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.source()
    }
}
