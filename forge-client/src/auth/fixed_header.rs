//! Credentials that never change. Each is one header.

use std::fmt;

use forge_core::{ConfigError, Secret, basic_credentials, is_token_text, with_prefix};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::Auth;
use super::exclusions::ExcludedPaths;
use super::plan::AuthPart;

/// Authenticates requests with an API key in a header.
///
/// ```
/// use requestforge::{ApiKeyAuth, HttpClient};
///
/// let auth = ApiKeyAuth::new("your-key").header_name("X-Service-Key").excluded_paths(["/health"]);
/// let client = HttpClient::builder("https://api.example.com").with_auth(auth).build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
#[doc(alias = "ApiKeyAuthHook")]
#[derive(Clone)]
#[must_use]
pub struct ApiKeyAuth(FixedHeader);

/// Authenticates requests with a user name and a password (RFC 7617).
///
/// ```
/// use requestforge::{BasicAuth, HttpClient};
///
/// let auth = BasicAuth::new("user", "password").excluded_path_patterns(["/public/*"]);
/// let client = HttpClient::builder("https://api.example.com").with_auth(auth).build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
#[doc(alias = "BasicAuthHook")]
#[derive(Clone)]
#[must_use]
pub struct BasicAuth(FixedHeader);

/// A header that authenticates all requests but those to excluded paths.
#[derive(Clone)]
pub(crate) struct FixedHeader {
    name: Result<HeaderName, ConfigError>,
    value: Result<HeaderValue, ConfigError>,
    excluded: ExcludedPaths,
}

impl ApiKeyAuth {
    /// Sends this key in the header `X-API-Key`. The key must be printable ASCII and not empty.
    pub fn new(key: impl Into<Secret>) -> Self {
        Self(FixedHeader::token(HeaderName::from_static("x-api-key"), "api_key", "", &key.into()))
    }

    /// The header that carries the key. Default: `X-API-Key`.
    pub fn header_name(mut self, name: &str) -> Self {
        self.0.name = HeaderName::try_from(name)
            .map_err(|error| ConfigError::new("header_name", "a header name").with_source(error));
        self
    }

    /// Paths to which requests go without the key; see [`TokenAuth::excluded_paths`].
    ///
    /// [`TokenAuth::excluded_paths`]: crate::TokenAuth::excluded_paths
    pub fn excluded_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.excluded.add_paths(paths);
        self
    }

    /// Patterns of such paths; see [`TokenAuth::excluded_path_patterns`].
    ///
    /// [`TokenAuth::excluded_path_patterns`]: crate::TokenAuth::excluded_path_patterns
    pub fn excluded_path_patterns<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.0.excluded.add_patterns(patterns);
        self
    }
}

impl BasicAuth {
    /// Sends this user name and password. Building the client fails if the user name contains a colon, if either
    /// contains a control character such as a line end (RFC 7617 2), or if both are empty.
    pub fn new(username: &str, password: impl Into<Secret>) -> Self {
        let password = password.into();
        let credentials = if username.is_empty() && password.expose().is_empty() {
            Err(ConfigError::new("basic_auth", "a user name or a password that is not empty"))
        } else {
            basic_credentials(username, &password)
        };
        let value = credentials.and_then(|pair| header_value("basic_auth", "Basic", &pair));
        Self(FixedHeader { name: Ok(AUTHORIZATION), value, excluded: ExcludedPaths::default() })
    }

    /// Paths to which requests go without them; see [`TokenAuth::excluded_paths`].
    ///
    /// [`TokenAuth::excluded_paths`]: crate::TokenAuth::excluded_paths
    pub fn excluded_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.excluded.add_paths(paths);
        self
    }

    /// Patterns of such paths; see [`TokenAuth::excluded_path_patterns`].
    ///
    /// [`TokenAuth::excluded_path_patterns`]: crate::TokenAuth::excluded_path_patterns
    pub fn excluded_path_patterns<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.0.excluded.add_patterns(patterns);
        self
    }
}

impl FixedHeader {
    /// A bearer token that never changes.
    pub(crate) fn bearer(token: &Secret) -> Self {
        Self::token(AUTHORIZATION, "bearer_token", "Bearer", token)
    }

    /// A token or a key behind a prefix. Building the client fails if the token is empty or not printable
    /// ASCII.
    fn token(name: HeaderName, field: &'static str, prefix: &str, token: &Secret) -> Self {
        let value = if is_token_text(token.expose()) {
            header_value(field, prefix, token)
        } else {
            Err(ConfigError::new(
                field,
                "a non-empty value of printable ASCII characters, without a line break at its end",
            ))
        };
        Self { name: Ok(name), value, excluded: ExcludedPaths::default() }
    }

    pub(super) fn build(self) -> Result<AuthPart, ConfigError> {
        let (name, value) = (self.name?, self.value?);
        Ok(AuthPart::Fixed { name, value, exclusions: self.excluded.build()? })
    }
}

fn header_value(field: &'static str, prefix: &str, value: &Secret) -> Result<HeaderValue, ConfigError> {
    Secret::from(with_prefix(prefix, value.expose()))
        .into_header_value()
        .map_err(|error| ConfigError::new(field, "a value that fits into a header").with_source(error))
}

impl From<ApiKeyAuth> for Auth {
    fn from(auth: ApiKeyAuth) -> Self {
        Self::fixed(auth.0)
    }
}

impl From<BasicAuth> for Auth {
    fn from(auth: BasicAuth) -> Self {
        Self::fixed(auth.0)
    }
}

impl From<FixedHeader> for Auth {
    fn from(fixed: FixedHeader) -> Self {
        Self::fixed(fixed)
    }
}

impl fmt::Debug for FixedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedHeader")
            .field("name", &self.name.as_ref().ok())
            .field("excluded", &self.excluded)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiKeyAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKeyAuth").field(&self.0).finish()
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BasicAuth").field(&self.0).finish()
    }
}
