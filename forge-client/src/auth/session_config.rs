use std::fmt;

use forge_core::ConfigError;
use url::Url;

use super::plan::{Auth, AuthPlan};
use super::warnings::{warn_about_exclusions, warn_about_plain_http};
use super::{AuthSession, IntoTokenAuth};
use crate::origin::{Origin, absolute};

/// How an [`AuthSession`] authenticates requests, and at which origins: complete and checked. A program builds it
/// once; each call begins a session of its own.
///
/// ```
/// use requestforge::auth::AuthSessionConfig;
/// use requestforge::TokenAuth;
///
/// # fn run(manager: impl requestforge::TokenSource + 'static) -> Result<(), requestforge::ConfigError> {
/// let config = AuthSessionConfig::with_token_auth(TokenAuth::new(manager).excluded_paths(["/health"]))
///     .origin("https://api.example.com")
///     .build()?;
/// let session = config.session();
/// # drop(session);
/// # Ok(())
/// # }
/// ```
pub struct AuthSessionConfig {
    pub(crate) plan: AuthPlan,
    pub(crate) origins: Vec<Origin>,
}

/// Collects the settings of an [`AuthSessionConfig`].
#[must_use]
pub struct AuthSessionConfigBuilder {
    auth: Auth,
    origins: Vec<String>,
    plain_http_credentials: bool,
}

impl AuthSessionConfig {
    /// Authenticates with tokens from a source: a [`TokenAuth`](crate::TokenAuth) with settings, or only the source.
    pub fn with_token_auth(auth: impl IntoTokenAuth) -> AuthSessionConfigBuilder {
        Self::with_auth(auth.into_token_auth())
    }

    /// Authenticates in any way that [`with_auth`](crate::HttpClientConfigBuilder::with_auth) takes.
    pub fn with_auth(auth: impl Into<Auth>) -> AuthSessionConfigBuilder {
        AuthSessionConfigBuilder { auth: auth.into(), origins: Vec::new(), plain_http_credentials: false }
    }

    /// Begins the session of one call.
    #[must_use]
    pub fn session(&self) -> AuthSession<'_> {
        AuthSession::new(self)
    }
}

impl AuthSessionConfigBuilder {
    /// Names an origin (scheme, host, port of this URL) that may see the credentials. At least one is needed.
    pub fn origin(mut self, url: impl Into<String>) -> Self {
        self.origins.push(url.into());
        self
    }

    /// Accepts that the credentials go over plain `http` to other machines, so that others on the network path can
    /// read them. The setting only silences the warning that [`build`](Self::build) logs.
    pub fn plain_http_credentials(mut self) -> Self {
        self.plain_http_credentials = true;
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// Names the invalid setting, for example that no origin was named.
    pub fn build(self) -> Result<AuthSessionConfig, ConfigError> {
        self.build_with_urls().map(|(config, _)| config)
    }

    /// The same, and the URLs of the origins as they were given.
    pub(crate) fn build_with_urls(self) -> Result<(AuthSessionConfig, Vec<Url>), ConfigError> {
        if self.origins.is_empty() {
            return Err(ConfigError::new("origin", "at least one: credentials belong to an origin"));
        }
        let urls: Vec<Url> =
            self.origins.iter().map(|origin| absolute("origin", origin)).collect::<Result<_, _>>()?;
        let plan = self.auth.build()?;
        let origins: Vec<Origin> = urls.iter().map(Origin::of).collect();
        if !self.plain_http_credentials {
            warn_about_plain_http(&origins, "`plain_http_credentials`");
        }
        warn_about_exclusions(&plan, None);
        Ok((AuthSessionConfig { plan, origins }, urls))
    }
}

impl fmt::Debug for AuthSessionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSessionConfig").field("origins", &self.origins).finish_non_exhaustive()
    }
}

/// Without the origins, which were not checked yet: one may hold a password.
impl fmt::Debug for AuthSessionConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSessionConfigBuilder").field("auth", &self.auth).finish_non_exhaustive()
    }
}
