//! Getters of a configuration.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use super::HttpClientConfig;
use crate::CircuitBreaker;
use crate::retry::RetryStrategy;

impl HttpClientConfig {
    /// The [base URL](crate::HttpClientConfigBuilder::with_base_url), if there is one.
    #[must_use]
    pub fn base_url(&self) -> Option<&Url> {
        self.0.base_url.url()
    }

    /// The [headers of every request](crate::HttpClientConfigBuilder::with_header), without those that
    /// authenticate. A value may still be a secret, and the `Debug` of a `HeaderMap` shows it.
    #[doc(alias = "default_headers")]
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.default_headers
    }

    /// How long an [attempt](crate::HttpClientConfigBuilder::with_timeout) may take.
    #[doc(alias = "default_timeout")]
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// How long a [whole call](crate::HttpClientConfigBuilder::with_total_timeout) may take; `None`: there is no
    /// limit.
    #[must_use]
    pub fn total_timeout(&self) -> Option<Duration> {
        self.0.total_timeout
    }

    /// How long [connecting](crate::HttpClientConfigBuilder::with_connect_timeout) may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.0.connect_timeout
    }

    /// How many [redirects](crate::HttpClientConfigBuilder::with_max_redirects) a call follows at most; `None`:
    /// it follows none, and the caller gets the redirect as a response.
    #[must_use]
    pub fn max_redirects(&self) -> Option<u32> {
        self.0.max_redirects
    }

    /// The maximum length in bytes of a [body](crate::HttpClientConfigBuilder::with_max_body) that the client
    /// keeps in memory.
    #[must_use]
    pub fn max_body(&self) -> usize {
        self.0.max_body
    }

    /// The [strategy](crate::HttpClientConfigBuilder::with_retry_strategy) that decides about retries; `None`:
    /// the client retries nothing.
    #[must_use]
    pub fn retry_strategy(&self) -> Option<&dyn RetryStrategy> {
        self.0.retry_strategy.as_deref()
    }

    /// The maximum wait before a retry that a server
    /// [asks for](crate::HttpClientConfigBuilder::with_max_retry_after).
    #[must_use]
    pub fn max_retry_after(&self) -> Duration {
        self.0.wait_limits.retry_after
    }

    /// The maximum [cool-down of a token source](crate::HttpClientConfigBuilder::with_max_cool_down) that a retry
    /// waits for.
    #[must_use]
    pub fn max_cool_down(&self) -> Duration {
        self.0.wait_limits.cool_down
    }

    /// The [breaker](crate::HttpClientConfigBuilder::with_circuit_breaker) that the client asks before each
    /// request: the one of this setting, else the retry strategy's.
    #[must_use]
    pub fn circuit_breaker(&self) -> Option<&CircuitBreaker> {
        self.0.breaker.as_ref()
    }

    /// How long the client keeps an [unused connection](crate::HttpClientConfigBuilder::with_pool_idle_timeout);
    /// `None`: the default of 90 s.
    #[must_use]
    pub fn pool_idle_timeout(&self) -> Option<Duration> {
        self.0.pool_idle_timeout
    }

    /// How many [unused connections](crate::HttpClientConfigBuilder::with_pool_max_idle_per_host) the client
    /// keeps for each host; `None`: any number.
    #[must_use]
    pub fn pool_max_idle_per_host(&self) -> Option<usize> {
        self.0.pool_max_idle_per_host
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::{CircuitBreakerRetryStrategy, HttpClientConfigBuilder, NoRetryStrategy, SimpleRetryStrategy};

    fn built(configure: impl FnOnce(HttpClientConfigBuilder) -> HttpClientConfigBuilder) -> HttpClientConfig {
        configure(HttpClientConfigBuilder::new()).build().unwrap()
    }

    #[test]
    fn the_getters_return_the_settings() {
        let second = Duration::from_secs(1);
        let config = built(|builder| {
            let builder = builder.with_base_url("https://api.example.com/v1").with_header("x-tenant", "shop");
            let builder = builder.with_timeout(second).with_total_timeout(second * 2);
            let builder = builder.with_connect_timeout(second * 3).with_max_retry_after(second * 4);
            let builder = builder.with_max_cool_down(second * 9);
            let builder = builder.with_pool_idle_timeout(second * 5).with_pool_max_idle_per_host(6);
            let builder = builder.with_max_redirects(7).with_max_body(8).with_bearer_token("canary");
            builder
                .with_retry_strategy(SimpleRetryStrategy::new())
                .with_circuit_breaker(CircuitBreaker::new())
        });
        assert_eq!(config.base_url().map(Url::as_str), Some("https://api.example.com/v1"));
        let tenant = (&HeaderName::from_static("x-tenant"), &HeaderValue::from_static("shop"));
        assert_eq!(config.headers().iter().collect::<Vec<_>>(), [tenant], "no credential is among them");
        let times = [config.timeout(), config.connect_timeout()];
        assert_eq!(times, [second, second * 3]);
        assert_eq!([config.max_retry_after(), config.max_cool_down()], [second * 4, second * 9]);
        let times = [config.total_timeout(), config.pool_idle_timeout()];
        assert_eq!(times, [Some(second * 2), Some(second * 5)]);
        assert_eq!((config.pool_max_idle_per_host(), config.max_redirects()), (Some(6), Some(7)));
        assert_eq!(config.max_body(), 8);
        assert!(config.retry_strategy().is_some() && config.circuit_breaker().is_some());
    }

    #[test]
    fn the_getters_return_the_defaults_without_settings() {
        let config = built(|builder| builder);
        assert!(config.base_url().is_none() && config.headers().is_empty());
        assert!(config.retry_strategy().is_none() && config.circuit_breaker().is_none());
        let times = [config.timeout(), config.connect_timeout()];
        assert_eq!(times, [30, 10].map(Duration::from_secs));
        assert_eq!([config.max_retry_after(), config.max_cool_down()], [Duration::from_secs(60); 2]);
        assert_eq!((config.total_timeout(), config.pool_idle_timeout()), (None, None));
        assert_eq!((config.pool_max_idle_per_host(), config.max_redirects()), (None, Some(10)));
        assert_eq!(config.max_body(), 64 * 1024 * 1024);
        assert_eq!(built(|builder| builder.with_redirects(false)).max_redirects(), None);
        let strategy = CircuitBreakerRetryStrategy::new(NoRetryStrategy, CircuitBreaker::new());
        assert!(built(|builder| builder.with_retry_strategy(strategy)).circuit_breaker().is_some());
    }

    #[test]
    fn a_copy_of_a_builder_keeps_its_settings_and_its_error() {
        let base = HttpClientConfigBuilder::new().with_base_url("https://api.example.com").with_api_key("k");
        let patient = base.clone().with_timeout(Duration::from_secs(60)).build().unwrap();
        let plain = base.build().unwrap();
        assert_eq!((patient.timeout().as_secs(), plain.timeout().as_secs()), (60, 30));
        assert_eq!(patient.base_url(), plain.base_url());
        let wrong = HttpClientConfigBuilder::new().with_timeout(Duration::ZERO).clone().build();
        assert_eq!(wrong.unwrap_err().config_error().unwrap().field(), "timeout");
    }
}
