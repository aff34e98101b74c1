use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{ConfigError, clamp_duration};
use http::HeaderMap;
use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

use crate::auth::Scheme;
use crate::client::Inner;
use crate::hooks::Hooks;
use crate::hop::Trust;
use crate::logging::Logging;
use crate::retry::{RetryPolicy, RetryStrategy, WaitLimits};
use crate::target::{BaseUrl, Origin};
use crate::{CircuitBreaker, HttpClientError};

/// What a builder has collected.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) base_url: BaseUrl,
    pub(super) origins: Vec<Origin>,
    pub(super) timeout: Duration,
    pub(super) total_timeout: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) default_headers: HeaderMap,
    pub(super) authentication: Option<Arc<Scheme>>,
    pub(super) max_redirects: Option<u32>,
    pub(super) hooks: Hooks,
    pub(super) logging: Option<Logging>,
    pub(super) max_body: usize,
    pub(super) retry_strategy: Option<Arc<dyn RetryStrategy>>,
    pub(super) wait_limits: WaitLimits,
    pub(super) breaker: Option<CircuitBreaker>,
    pub(super) pool_idle_timeout: Option<Duration>,
    pub(super) pool_max_idle_per_host: Option<usize>,
    pub(super) configure_http: Option<ConfigureHttp>,
}

type ConfigureHttp = Arc<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: BaseUrl::none(),
            origins: Vec::new(),
            timeout: Duration::from_secs(30),
            total_timeout: None,
            connect_timeout: Duration::from_secs(10),
            default_headers: HeaderMap::new(),
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
    pub(super) fn into_client(self) -> Result<Inner, HttpClientError> {
        let settings = self;
        #[cfg(all(feature = "rustls-no-provider", not(any(feature = "rustls", feature = "native-tls"))))]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // reqwest would panic.
            let expected = "a crypto provider of rustls, installed by the program";
            return Err(HttpClientError::builder("http", expected));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(clamp_duration(settings.connect_timeout))
            .user_agent(concat!("requestforge/", env!("CARGO_PKG_VERSION")));
        if let Some(timeout) = settings.pool_idle_timeout {
            builder = builder.pool_idle_timeout(clamp_duration(timeout));
        }
        if let Some(connections) = settings.pool_max_idle_per_host {
            builder = builder.pool_max_idle_per_host(connections);
        }
        let builder = match &settings.configure_http {
            Some(configure) => configure(builder),
            None => builder,
        };
        let http = builder
            .timeout(clamp_duration(settings.timeout))
            .redirect(Policy::none())
            .referer(false)
            // Without a bound each request is copied, for a retry that never comes.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .build()
            .map_err(|error| ConfigError::new("http", "settings that reqwest accepts").with_source(error))?;

        let sensitive_names =
            settings.authentication.as_ref().map(|scheme| scheme.header_names()).unwrap_or_default();
        let strategys_breaker =
            settings.retry_strategy.as_ref().and_then(|strategy| strategy.circuit_breaker().cloned());
        Ok(Inner {
            http,
            base_url: settings.base_url,
            default_headers: settings.default_headers,
            trust: Trust { origins: settings.origins, sensitive_names },
            authentication: settings.authentication,
            max_redirects: settings.max_redirects,
            timeout: settings.timeout,
            hooks: settings.hooks,
            logging: settings.logging,
            total_timeout: settings.total_timeout,
            breaker: settings.breaker.or(strategys_breaker),
            retries: settings.retry_strategy.map(|strategy| RetryPolicy::new(strategy, settings.wait_limits)),
            max_body: settings.max_body,
        })
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
