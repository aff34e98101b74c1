//! Settings of retries.

use std::sync::Arc;
use std::time::Duration;

use super::HttpClientConfigBuilder;
use crate::CircuitBreaker;
use crate::retry::{ExponentialBackoffRetryStrategy, RetryStrategy};

impl<T> HttpClientConfigBuilder<T> {
    /// Retries what is [transient](crate::RetryOutcome::is_transient) up to so many times, after delays
    /// that grow: an [`ExponentialBackoffRetryStrategy`] with its defaults otherwise.
    ///
    /// Only what may be repeated is: see [`RetryStrategy`] for what stands above any strategy. All
    /// clones of a client draw on one budget. It allows for 100 retries at first, each call that ends
    /// well brings back a fifth of one, and 100 is the most that it holds: so a server that is down is
    /// not sent a multiple of its traffic.
    ///
    /// ```
    /// use forge_client::HttpClient;
    ///
    /// let client = HttpClient::builder("https://api.example.com").with_retry(3).build()?;
    /// # Ok::<_, forge_client::HttpClientError>(())
    /// ```
    pub fn with_retry(self, max_retries: u32) -> Self {
        self.with_retry_strategy(ExponentialBackoffRetryStrategy::new().max_retries(max_retries))
    }

    /// Whether and when a request that failed is sent again. Default: never. The last of this and
    /// [`with_retry`](Self::with_retry) counts.
    pub fn with_retry_strategy(mut self, strategy: impl RetryStrategy + 'static) -> Self {
        self.settings.retry_strategy = Some(Arc::new(strategy));
        self
    }

    /// The longest that a retry waits because a server says so (`Retry-After`). One that asks for more
    /// is asked again after this. Default: 60 s.
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

    /// Asked before each request, also for retries, replays and redirects: while the circuit of an origin
    /// is open, nothing is sent there ([`is_circuit_open`](crate::HttpClientError::is_circuit_open)).
    /// Several clients may share one. Default: none.
    ///
    /// ```
    /// use forge_client::{CircuitBreaker, HttpClient};
    ///
    /// let client = HttpClient::builder("https://api.example.com")
    ///     .with_circuit_breaker(CircuitBreaker::new())
    ///     .build()?;
    /// # Ok::<_, forge_client::HttpClientError>(())
    /// ```
    pub fn with_circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.settings.breaker = Some(breaker);
        self
    }
}
