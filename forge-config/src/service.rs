pub(crate) mod credentials;

use std::fmt;
use std::sync::{Arc, OnceLock};

use forge_client::{
    HttpClient, HttpClientBuilder, HttpClientConfigBuilder, HttpClientError, looks_like_credential_name,
};
use forge_core::ConfigError;
use forge_token::TokenManager;
use serde::Deserialize;

use crate::ServiceConfigError;
use crate::fields::{Fields, variable};
use crate::setting::{ParsedValue, Setting};
use credentials::Credentials;

/// The configuration of one service: its address, its credentials and its limits. It comes from a file of any format
/// that serde reads, or from the [environment](crate::FromEnv). There, the variable of a field has a prefix and the
/// name of the field in capitals.
///
/// | field | meaning | default |
/// | --- | --- | --- |
/// | `base_url` | [the URL of the API](HttpClientConfigBuilder::with_base_url) | none: a client needs it |
/// | `service_name` | the name in errors, logs and the cache key | the name of the table ([`Services`](crate::Services)), else the host |
/// | `headers` | a table of headers for every request; [names of credentials](looks_like_credential_name) are refused; files only | none |
/// | `timeout` | [the limit of each attempt](HttpClientConfigBuilder::with_timeout) | 30 s |
/// | `total_timeout` | [the limit of a call](HttpClientConfigBuilder::with_total_timeout) | none |
/// | `connect_timeout` | [the limit of connecting](HttpClientConfigBuilder::with_connect_timeout) | 10 s |
/// | `max_retries` | [how often a repeatable request is repeated](HttpClientConfigBuilder::with_retry) | 0 |
/// | `redirects` | [whether the client follows redirects](HttpClientConfigBuilder::with_redirects) | true |
/// | `max_redirects` | [how many redirects it follows](HttpClientConfigBuilder::with_max_redirects) | 10 |
/// | `public_headers` | a list of [headers that carry no credential](HttpClientConfigBuilder::with_public_header); with commas in a variable | none |
/// | `plain_http_credentials` | whether credentials may go over plain http [without a warning](HttpClientConfigBuilder::with_plain_http_credentials) | false |
/// | **a fixed token** | | |
/// | `bearer_token` (secret) | `Authorization: Bearer …` | |
/// | **or a key** | | |
/// | `api_key` (secret) | the key | |
/// | `api_key_header` | the header that carries it | `X-API-Key` |
/// | **or a login** | | |
/// | `basic_username`, `basic_password` (secret) | HTTP Basic (RFC 7617) | |
/// | **or `OAuth2`** (RFC 6749) | client credentials, or with `username` the password grant | |
/// | `token_url` | the token endpoint, https or on this machine | |
/// | `client_id`, `client_secret` (secret) | the client | |
/// | `username`, `password` (secret) | the user | |
/// | `scope` | words separated by spaces | none |
/// | `scope_on_refresh` | whether refresh requests send `scope` too | false |
/// | `audience` | a parameter of token calls | none |
/// | `extra_params` | a table of further parameters of token calls, each with a text or a list of texts; a list becomes one parameter for each text; files only | none |
/// | `secret_query_params` | a table of secrets, each by reference, for the query of the token URL; files only | none |
/// | `auth_method` | `body`, `header` or `header_raw`, see [`AuthMethod`](forge_token::AuthMethod) | `body` |
/// | `danger_accept_plain_http` | whether the token URL may be plain http anywhere | false |
/// | **with any of these credentials** | | |
/// | `excluded_paths`, `excluded_path_patterns` | lists of [paths](forge_client::TokenAuth::excluded_paths) without credentials; with commas in a variable | none |
/// | **to share `OAuth2` tokens with other processes** (feature `storage-redis`) | without these they stay in the process | |
/// | `redis_url` (secret) | the server; an address without a password needs no reference | none |
/// | `redis_password` (secret) | the password of the server | the password in the address |
/// | `redis_key_prefix` | the beginning of the keys | `token` |
///
/// A duration is a text with a unit (`"500ms"`, `"30s"`, `"2m"`, `"1h"`) or a number of seconds.
///
/// A file never contains a secret. It has a reference: `{ file = "/run/secrets/key" }` or `{ env = "KEY" }`. In the
/// environment, the variable of the field contains the secret (`REQUESTFORGE_API_KEY`), or a variable with `_FILE` at
/// its end has the path of a file that contains it (`REQUESTFORGE_API_KEY_FILE`). One trailing line break is left
/// out.
///
/// A secret may rotate. The manager reads the secrets of a token call before each token call, and a token, key or login
/// before the first request and after a 401. The storage reads the password of Redis before each connection.
///
/// An unknown field is an error of deserialising. An invalid value is an error of [`client`](Self::client) and the
/// other methods, so that its text is the same in all formats and never shows the value. A file that its format
/// cannot parse is an error of the format, which may show the line: `toml` prints it, unless you print only the
/// `message()` of its error.
///
/// ```
/// use requestforge::ServiceConfig;
///
/// let config: ServiceConfig = serde_json::from_str(
///     r#"{
///         "base_url": "https://api.example.com",
///         "timeout": "10s",
///         "token_url": "https://auth.example.com/oauth/token",
///         "client_id": "shop",
///         "client_secret": { "file": "/run/secrets/api" },
///         "excluded_paths": ["/health"]
///     }"#,
/// )?;
/// let client = config.client()?;
/// # drop(client);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(from = "Fields")]
pub struct ServiceConfig {
    pub(crate) fields: Fields,
    /// The prefix of the variables, if the fields come from variables.
    prefix: Option<String>,
    /// The name of its table in [`Services`](crate::Services).
    name: Option<String>,
    manager: Arc<OnceLock<TokenManager>>,
}

/// The value of a field, if it is set.
macro_rules! field {
    ($config:expr, $field:ident) => {
        $config.value(stringify!($field), $config.fields.$field.as_ref())
    };
}
pub(crate) use field;

impl ServiceConfig {
    /// Builds a client of the service. All clients of this configuration and its clones share one
    /// [manager](Self::token_manager).
    ///
    /// # Errors
    ///
    /// Names the invalid field.
    pub fn client(&self) -> Result<HttpClient, ServiceConfigError> {
        self.client_builder()?.build().map_err(|error| self.client_error(error))
    }

    /// The builder of a client, for more settings.
    ///
    /// # Errors
    ///
    /// Names the invalid field.
    pub fn client_builder(&self) -> Result<HttpClientBuilder, ServiceConfigError> {
        self.configure(HttpClient::builder(""))
    }

    /// Adds all settings to a builder. They take the place of settings that the builder has.
    ///
    /// # Errors
    ///
    /// Names the invalid field.
    pub fn configure<T>(
        &self,
        builder: HttpClientConfigBuilder<T>,
    ) -> Result<HttpClientConfigBuilder<T>, ServiceConfigError> {
        let base_url =
            field!(self, base_url)?.ok_or_else(|| self.error_expecting("base_url", "the URL of the API"))?;
        let mut builder = builder.with_base_url(base_url);
        if let Some(headers) = field!(self, headers)? {
            if headers.0.iter().any(|(name, _)| looks_like_credential_name(name)) {
                return Err(self.error_expecting(
                    "headers",
                    "names that are not those of credentials, which have fields of their own",
                ));
            }
            builder =
                builder.with_headers(headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        if let Some(timeout) = field!(self, timeout)? {
            builder = builder.with_timeout(*timeout);
        }
        if let Some(timeout) = field!(self, total_timeout)? {
            builder = builder.with_total_timeout(*timeout);
        }
        if let Some(timeout) = field!(self, connect_timeout)? {
            builder = builder.with_connect_timeout(*timeout);
        }
        if let Some(retries) = field!(self, max_retries)? {
            builder = builder.with_retry(*retries);
        }
        if let Some(redirects) = field!(self, max_redirects)? {
            builder = builder.with_max_redirects(*redirects);
        }
        if let Some(follow) = field!(self, redirects)? {
            builder = builder.with_redirects(*follow);
        }
        if let Some(names) = field!(self, public_headers)? {
            builder = names.iter().fold(builder, |builder, name| builder.with_public_header(name.as_str()));
        }
        if field!(self, plain_http_credentials)?.is_some_and(|accepts| *accepts) {
            builder = builder.with_plain_http_credentials();
        }
        Ok(match self.token_auth()? {
            Some(auth) => builder.with_token_auth(auth),
            None => builder,
        })
    }

    /// The manager of the service's tokens, the same one for each call. It reads a bearer token, a key or a login
    /// from its source, and fetches any other token. This method itself reads and fetches nothing.
    ///
    /// # Errors
    ///
    /// Names the invalid field, or the fields one of which is needed if the service has no credentials.
    pub fn token_manager(&self) -> Result<TokenManager, ServiceConfigError> {
        self.manager(&self.credentials()?.ok_or_else(|| {
            let fields = ["token_url", "bearer_token", "api_key", "basic_username"];
            self.error(&fields, ConfigError::new("auth", "one of them"))
        })?)
    }

    pub(crate) fn manager(&self, credentials: &Credentials<'_>) -> Result<TokenManager, ServiceConfigError> {
        if let Some(manager) = self.manager.get() {
            return Ok(manager.clone());
        }
        let manager = self.build_manager(credentials)?;
        Ok(self.manager.get_or_init(|| manager).clone())
    }

    /// The name of the service in errors.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.fields.service_name {
            Some(ParsedValue::Valid(name)) => Some(name),
            _ => self.name.as_deref(),
        }
    }

    pub(crate) fn with_table_name(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// The name in errors, logs and the cache key, if the file or the environment has one.
    pub(crate) fn service_name(&self) -> Result<Option<&str>, ServiceConfigError> {
        Ok(field!(self, service_name)?.map(String::as_str).or(self.name.as_deref()))
    }

    pub(crate) fn from_prefixed_fields(fields: Fields, prefix: &str) -> Self {
        Self { prefix: Some(prefix.to_owned()), ..Self::from(fields) }
    }

    pub(crate) fn value<'a, T: Setting>(
        &self,
        field: &'static str,
        given: Option<&'a ParsedValue<T>>,
    ) -> Result<Option<&'a T>, ServiceConfigError> {
        match given {
            None => Ok(None),
            Some(ParsedValue::Valid(value)) => Ok(Some(value)),
            Some(ParsedValue::Invalid) if T::IS_FILE_ONLY && self.prefix.is_some() => {
                let expected = format!(
                    "a configuration file for this field, because a variable cannot hold {}",
                    T::EXPECTED
                );
                Err(self.error_expecting(field, expected))
            }
            Some(ParsedValue::Invalid) => Err(self.error_expecting(field, T::EXPECTED)),
        }
    }

    pub(crate) fn error_expecting(
        &self,
        field: &'static str,
        expected: impl Into<String>,
    ) -> ServiceConfigError {
        self.error(&[field], ConfigError::new(field, expected))
    }

    /// An error of these fields, with the names that they have in their source.
    pub(crate) fn error(&self, fields: &[&str], cause: ConfigError) -> ServiceConfigError {
        let fields = fields.iter().map(|field| self.source_name_of(field)).collect();
        ServiceConfigError::new(self.name(), fields, cause)
    }

    /// The name of a field in its source: the field of a file, or the variable.
    pub(crate) fn source_name_of(&self, field: &str) -> String {
        match &self.prefix {
            Some(prefix) => variable(prefix, field),
            None => field.to_owned(),
        }
    }

    pub(crate) fn client_error(&self, error: HttpClientError) -> ServiceConfigError {
        let cause = match error.config_error() {
            Some(cause) => cause.clone(),
            None => {
                ConfigError::new("base_url", "settings of which a client can be built").with_source(error)
            }
        };
        let field = match cause.field() {
            "header" => "headers",
            "public_header" => "public_headers",
            "auth_header_name" => "api_key_header",
            // Not the error of a field: TLS, or a blocking client within a runtime.
            other @ ("http" | "blocking") => {
                return ServiceConfigError::new(self.name(), vec![other.to_owned()], cause);
            }
            field => field,
        };
        self.error(&[field], cause)
    }
}

impl From<Fields> for ServiceConfig {
    fn from(fields: Fields) -> Self {
        Self { fields, prefix: None, name: None, manager: Arc::default() }
    }
}

/// Shows the name only, because a field may contain a secret by mistake.
impl fmt::Debug for ServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceConfig").field("name", &self.name()).finish_non_exhaustive()
    }
}
