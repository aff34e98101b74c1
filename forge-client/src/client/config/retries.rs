//! Retries.

use std::sync::Arc;
use std::time::Duration;

use super::HttpClientConfigBuilder;
use crate::CircuitBreaker;
use crate::retry::{ExponentialBackoffRetryStrategy, RetryStrategy};

impl<T> HttpClientConfigBuilder<T> {
    /// Retries [transient](crate::RetryOutcome::is_transient) failures at most this many times, after delays
    /// that grow: an [`ExponentialBackoffRetryStrategy`] whose other settings have their defaults.
    ///
    /// The client retries only requests that it may repeat: see [`RetryStrategy`] for the rules that no strategy can
    /// change. All clones of a client share one budget of 100 retries. Each call that ends well returns a fifth of a
    /// retry to it. So a server that is down does not get a multiple of its usual traffic.
    ///
    /// ```
    /// use requestforge::HttpClient;
    ///
    /// let client = HttpClient::builder("https://api.example.com").with_retry(3).build()?;
    /// # Ok::<_, requestforge::HttpClientError>(())
    /// ```
    pub fn with_retry(self, max_retries: u32) -> Self {
        self.with_retry_strategy(ExponentialBackoffRetryStrategy::new().max_retries(max_retries))
    }

    /// Decides whether and when the client sends a failed request again. Default: never. Of this setting and
    /// [`with_retry`](Self::with_retry), the last one counts.
    pub fn with_retry_strategy(mut self, strategy: impl RetryStrategy + 'static) -> Self {
        self.settings.retry_strategy = Some(Arc::new(strategy));
        self
    }

    /// The maximum time that a retry waits because the server asks for it (`Retry-After`). If the server asks
    /// for more, the client retries after this time. Default: 60 s.
    pub fn with_max_retry_after(mut self, delay: Duration) -> Self {
        self.settings.wait_limits.retry_after = delay;
        self
    }

    /// The maximum cool-down of a token source that a retry waits for. While a token endpoint fails, a
    /// `TokenManager` sends it no requests for a while. The [error](crate::HttpClientError::authentication_error)
    /// contains the time that is left ([`cool_down`](forge_core::AuthenticationError::cool_down)). A call with
    /// retries waits for it, and asks for a token again. If the cool-down is longer than this setting, the call
    /// fails at once. Default: 60 s.
    pub fn with_max_cool_down(mut self, delay: Duration) -> Self {
        self.settings.wait_limits.cool_down = delay;
        self
    }

    /// Asks this breaker before each request, also before retries, replays and hops of redirects. While the
    /// circuit of an origin is open, the client sends nothing there
    /// ([`is_circuit_open`](crate::HttpClientError::is_circuit_open)). Several clients may share a breaker.
    /// Default: none.
    ///
    /// ```
    /// use requestforge::{CircuitBreaker, HttpClient};
    ///
    /// let client = HttpClient::builder("https://api.example.com")
    ///     .with_circuit_breaker(CircuitBreaker::new())
    ///     .build()?;
    /// # Ok::<_, requestforge::HttpClientError>(())
    /// ```
    pub fn with_circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.settings.breaker = Some(breaker);
        self
    }
}
