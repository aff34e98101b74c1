use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{RetryOutcome, RetryStrategy};
use crate::CircuitBreaker;

/// Retries as another strategy says, until a [`CircuitBreaker`] opens. From then on the client sends nothing for a
/// while, and no call waits for a retry that the breaker would refuse: the caller gets the last failure.
///
/// The breaker counts all requests of the client, not only those that are retried, as with
/// [`with_circuit_breaker`](crate::HttpClientConfigBuilder::with_circuit_breaker).
///
/// ```
/// use requestforge::{CircuitBreaker, CircuitBreakerRetryStrategy, ExponentialBackoffRetryStrategy, HttpClient};
///
/// let strategy =
///     CircuitBreakerRetryStrategy::new(ExponentialBackoffRetryStrategy::new(), CircuitBreaker::new());
/// let client = HttpClient::builder("https://api.example.com").with_retry_strategy(strategy).build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerRetryStrategy<S> {
    strategy: S,
    breaker: CircuitBreaker,
}

impl<S: RetryStrategy> CircuitBreakerRetryStrategy<S> {
    /// Retries as this strategy says, if this breaker allows it.
    #[must_use]
    pub fn new(strategy: S, breaker: CircuitBreaker) -> Self {
        Self { strategy, breaker }
    }
}

impl<S: RetryStrategy> RetryStrategy for CircuitBreakerRetryStrategy<S> {
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        self.strategy.delay_before_retry(retry, outcome)
    }

    fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.strategy.reads_body(status, headers)
    }

    fn circuit_breaker(&self) -> Option<&CircuitBreaker> {
        Some(&self.breaker)
    }
}
