use std::env;

use forge_client::HttpClient;

use crate::{ServiceConfig, ServiceConfigError};

/// A type that environment variables describe: an [`HttpClient`], the `HttpClient` of `blocking` (feature `blocking`),
/// or a [`ServiceConfig`] for more settings.
///
/// [`ServiceConfig`] has the table of fields. The variable of a field has the prefix and the name of the field in
/// capitals. A secret may also be in a file: then a variable with `_FILE` at its end has the path.
///
/// ```sh
/// REQUESTFORGE_BASE_URL=https://api.example.com
/// REQUESTFORGE_TOKEN_URL=https://auth.example.com/oauth/token
/// REQUESTFORGE_CLIENT_ID=shop
/// REQUESTFORGE_CLIENT_SECRET_FILE=/run/secrets/api
/// REQUESTFORGE_EXCLUDED_PATHS=/health,/status
/// ```
///
/// A variable with the prefix that belongs to no field is an error, so that no misspelled variable is overlooked. An
/// empty variable is an error, too. The variables that Kubernetes sets for a service with such a name are ignored:
/// `…SERVICE_HOST`, `…SERVICE_PORT…`, `…PORT` and `…PORT_…`.
pub trait FromEnv: Sized {
    /// Builds the value from a configuration.
    ///
    /// # Errors
    ///
    /// Names the invalid field or variable.
    fn from_service_config(config: &ServiceConfig) -> Result<Self, ServiceConfigError>;

    /// Builds the value from the variables that begin with `REQUESTFORGE_`.
    ///
    /// # Errors
    ///
    /// Names the variable that is invalid, unknown or missing, or the variables that contradict each other.
    fn from_env() -> Result<Self, ServiceConfigError> {
        Self::from_env_with_prefix("REQUESTFORGE_")
    }

    /// Builds the value from the variables that begin with this prefix, such as `BILLING_`. Give each of several
    /// services a prefix. No prefix may begin with another one.
    ///
    /// ```no_run
    /// use requestforge::{FromEnv, HttpClient};
    ///
    /// let billing = HttpClient::from_env_with_prefix("BILLING_")?; // BILLING_BASE_URL, …
    /// let search = HttpClient::from_env_with_prefix("SEARCH_")?;
    /// # Ok::<_, requestforge::config::ServiceConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`from_env`](Self::from_env).
    fn from_env_with_prefix(prefix: &str) -> Result<Self, ServiceConfigError> {
        Self::from_service_config(&ServiceConfig::from_prefixed_variables(prefix, env::vars_os())?)
    }
}

impl FromEnv for ServiceConfig {
    fn from_service_config(config: &ServiceConfig) -> Result<Self, ServiceConfigError> {
        Ok(config.clone())
    }
}

impl FromEnv for HttpClient {
    fn from_service_config(config: &ServiceConfig) -> Result<Self, ServiceConfigError> {
        config.client()
    }
}

#[cfg(feature = "blocking")]
impl FromEnv for forge_client::blocking::HttpClient {
    fn from_service_config(config: &ServiceConfig) -> Result<Self, ServiceConfigError> {
        let builder = config.configure(Self::builder(""))?;
        builder.build().map_err(|error| config.client_error(error))
    }
}
