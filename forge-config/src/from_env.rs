use std::env;

use forge_client::HttpClient;

use crate::{ServiceConfig, ServiceConfigError};

/// What is made of variables of the environment: an [`HttpClient`], with feature `blocking` also that of
/// `blocking`, or a [`ServiceConfig`] for more.
///
/// [`ServiceConfig`] has the table: each field is a variable, its name in capitals behind a prefix, and a
/// secret may also be in a file that a variable with `_FILE` at its end names.
///
/// ```sh
/// REQUESTFORGE_BASE_URL=https://api.example.com
/// REQUESTFORGE_TOKEN_URL=https://auth.example.com/oauth/token
/// REQUESTFORGE_CLIENT_ID=shop
/// REQUESTFORGE_CLIENT_SECRET_FILE=/run/secrets/api
/// REQUESTFORGE_EXCLUDED_PATHS=/health,/status
/// ```
///
/// A variable with the prefix that is no field is an error, so that a misspelled one is not overlooked; so is
/// one that is empty. Only those are passed over that Kubernetes sets for a service of such a name
/// (`…SERVICE_HOST`, `…SERVICE_PORT…`, `…PORT`, `…PORT_…`).
pub trait FromEnv: Sized {
    /// What this configuration makes.
    ///
    /// # Errors
    ///
    /// Names the field or variable that cannot be.
    fn from_service_config(config: &ServiceConfig) -> Result<Self, ServiceConfigError>;

    /// From the variables that begin with `REQUESTFORGE_`.
    ///
    /// # Errors
    ///
    /// Names the variable that cannot be, is unknown or missing, or the two that contradict each other.
    fn from_env() -> Result<Self, ServiceConfigError> {
        Self::from_env_with_prefix("REQUESTFORGE_")
    }

    /// From the variables that begin with this, such as `BILLING_`: for several services. No prefix may begin
    /// with another one.
    ///
    /// ```no_run
    /// use forge_client::HttpClient;
    /// use forge_config::FromEnv;
    ///
    /// let billing = HttpClient::from_env_with_prefix("BILLING_")?; // BILLING_BASE_URL, …
    /// let search = HttpClient::from_env_with_prefix("SEARCH_")?;
    /// # Ok::<_, forge_config::ServiceConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
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
