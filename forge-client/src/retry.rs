//! Whether a call that failed is tried again, and when (invariant 21).

mod budget;
mod circuit_breaker;
mod strategy;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, StatusCode};

pub use self::circuit_breaker::CircuitBreakerRetryStrategy;
pub use self::strategy::{
    ExponentialBackoffRetryStrategy, NoRetryStrategy, RetryOutcome, RetryStrategy, SimpleRetryStrategy,
};

use self::budget::RetryBudget;

/// Has a request that is not idempotent by its method repeated safely, where the server knows it
/// (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a client and all its clones have for retries.
pub(crate) struct RetryPolicy {
    strategy: Arc<dyn RetryStrategy>,
    max_retry_after: Duration,
    budget: RetryBudget,
}

impl RetryPolicy {
    pub(crate) fn new(strategy: Arc<dyn RetryStrategy>, max_retry_after: Duration) -> Self {
        Self { strategy, max_retry_after, budget: RetryBudget::new() }
    }

    /// Whether the body must be at hand for [`delay`](Self::delay).
    pub(crate) fn reads_body(&self) -> bool {
        self.strategy.reads_body()
    }

    /// How long to wait before this retry, if the strategy wants it: as long as it says, or as the
    /// server says, if that is longer.
    pub(crate) fn delay(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        let delay = self.strategy.retry_after(retry, outcome)?;
        let asked = outcome.headers().and_then(|headers| forge_core::retry_after(headers, SystemTime::now()));
        Some(asked.map_or(delay, |asked| delay.max(asked.min(self.max_retry_after))))
    }

    /// Whether the budget has a retry left. Takes it.
    pub(crate) fn withdraw(&self) -> bool {
        self.budget.withdraw()
    }

    /// A call has ended with an answer of this status.
    pub(crate) fn settle(&self, status: StatusCode) {
        if !status.is_server_error() && !strategy::is_transient(status) {
            self.budget.deposit();
        }
    }
}
