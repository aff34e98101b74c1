//! The settings of a client. The builder collects them, and the configuration and the client hold them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{ConfigError, looks_like_credential_name};
use http::HeaderMap;
use reqwest::ClientBuilder;

use crate::CircuitBreaker;
use crate::auth::{AuthPlan, warn_about_exclusions, warn_about_plain_http};
use crate::hooks::Hooks;
use crate::logging::Logging;
use crate::origin::{BaseUrl, Trust, check_public};
use crate::retry::{RetryStrategy, WaitLimits};

/// A caller's changes to the `reqwest` clients underneath.
pub(crate) type ConfigureHttp = Arc<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;

/// The settings of a client.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) base_url: BaseUrl,
    /// The origins that may see credentials, and the headers that carry them.
    pub(crate) trust: Trust,
    pub(crate) timeout: Duration,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) default_headers: HeaderMap,
    pub(crate) plain_http_credentials: bool,
    pub(crate) authentication: Option<Arc<AuthPlan>>,
    pub(crate) max_redirects: Option<u32>,
    pub(crate) hooks: Hooks,
    pub(crate) logging: Option<Logging>,
    pub(crate) max_body: usize,
    pub(crate) retry_strategy: Option<Arc<dyn RetryStrategy>>,
    pub(crate) wait_limits: WaitLimits,
    pub(crate) breaker: Option<CircuitBreaker>,
    pub(crate) pool_idle_timeout: Option<Duration>,
    pub(crate) pool_max_idle_per_host: Option<usize>,
    pub(crate) configure_http: Option<ConfigureHttp>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: BaseUrl::none(),
            trust: Trust::default(),
            timeout: Duration::from_secs(30),
            total_timeout: None,
            connect_timeout: Duration::from_secs(10),
            default_headers: HeaderMap::new(),
            plain_http_credentials: false,
            authentication: None,
            max_redirects: Some(10),
            hooks: Hooks::default(),
            logging: None,
            max_body: 64 * 1024 * 1024,
            retry_strategy: None,
            wait_limits: WaitLimits::default(),
            breaker: None,
            pool_idle_timeout: None,
            pool_max_idle_per_host: None,
            configure_http: None,
        }
    }
}

impl Settings {
    /// Adds to [`trust`](Self::trust) the headers of the authentication and the public headers that hooks name,
    /// and checks all public headers.
    pub(crate) fn complete_trust(&mut self) -> Result<(), ConfigError> {
        let trust = &mut self.trust;
        trust.sensitive_names =
            self.authentication.as_ref().map(|plan| plan.header_names()).unwrap_or_default();
        trust.public_names.extend(self.hooks.request.iter().flat_map(|hook| hook.public_headers()));
        trust.public_names.iter().try_for_each(|name| check_public(name, &trust.sensitive_names))
    }

    /// Logs settings that are valid, but most likely a mistake.
    pub(crate) fn log_warnings(&self) {
        if !self.plain_http_credentials && self.has_credentials() {
            let setting = "`with_plain_http_credentials` (`plain_http_credentials` in a configuration)";
            warn_about_plain_http(&self.trust.origins, setting);
        }
        if let Some(plan) = &self.authentication {
            // A request to a second credential origin may have any path.
            let directory = self.base_url.directory().filter(|_| self.trust.origins.len() == 1);
            warn_about_exclusions(plan, directory.as_deref());
        }
    }

    /// Whether the client sends credentials: by its authentication, or in a default header whose mark or name
    /// shows it.
    fn has_credentials(&self) -> bool {
        let mut headers = self.default_headers.iter();
        self.authentication.is_some()
            || headers.any(|(name, value)| value.is_sensitive() || looks_like_credential_name(name.as_str()))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("timeout", &self.timeout)
            .field("total_timeout", &self.total_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("default_headers", &self.default_headers.keys().collect::<Vec<_>>())
            .field("public_names", &self.trust.public_names)
            .field("plain_http_credentials", &self.plain_http_credentials)
            .field("max_redirects", &self.max_redirects)
            .field("hooks", &self.hooks)
            .field("logging", &self.logging)
            .field("max_body", &self.max_body)
            .field("retry_strategy", &self.retry_strategy)
            .field("wait_limits", &self.wait_limits)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
