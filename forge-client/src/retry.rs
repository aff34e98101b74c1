//! Retries: whether the client sends a failed request again, and when (invariant 21).

mod budget;
mod circuit_breaker;
mod retryable;
mod strategy;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub use self::circuit_breaker::CircuitBreakerRetryStrategy;
pub use self::retryable::RetryableError;
pub use self::strategy::{
    ExponentialBackoffRetryStrategy, NoRetryStrategy, RetryOutcome, RetryStrategy, SimpleRetryStrategy,
};

use self::budget::RetryBudget;
use self::retryable::RetryableOutcomes;
use crate::timing::until_over;

/// With this header a server that knows it carries out a request once, however often the request comes
/// (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether a key is blank, so that it names no operation.
pub(crate) fn is_blank(key: &HeaderValue) -> bool {
    key.as_bytes().trim_ascii().is_empty()
}

/// The retry strategy of a client, its limits, and the budget that all clones of the client share.
pub(crate) struct RetryPolicy {
    strategy: Arc<dyn RetryStrategy>,
    limits: WaitLimits,
    budget: RetryBudget,
}

/// The maximum waits that a server or a token source can impose on a retry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitLimits {
    /// The limit for a server's `Retry-After`; the retry waits no longer.
    pub(crate) retry_after: Duration,
    /// The limit for the cool-down of a token source; after a longer one there is no retry.
    pub(crate) cool_down: Duration,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self { retry_after: DEFAULT_MAX_WAIT, cool_down: DEFAULT_MAX_WAIT }
    }
}

const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(60);

impl RetryPolicy {
    pub(crate) fn new(strategy: Arc<dyn RetryStrategy>, limits: WaitLimits) -> Self {
        Self { strategy, limits, budget: RetryBudget::new() }
    }

    /// Whether [`delay`](Self::delay) must see the body.
    pub(crate) fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.strategy.reads_body(status, headers)
    }

    /// How long to wait before this retry, if the strategy wants it: as long as it says, or as the server says,
    /// if that is longer. If the client got no token, the retry waits only for the cool-down of the token source:
    /// before its end the source fetches no token, and after it the request is sent for the first time.
    pub(crate) fn delay(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        let delay = self.strategy.delay_before_retry(retry, outcome)?;
        if let Some(cool_down) = outcome.cool_down() {
            return (cool_down <= self.limits.cool_down).then(|| until_over(cool_down));
        }
        let asked = outcome.headers().and_then(|headers| forge_core::retry_after(headers, SystemTime::now()));
        Some(asked.map_or(delay, |asked| delay.max(asked.min(self.limits.retry_after))))
    }

    /// Takes a retry from the budget. Returns whether there was one.
    pub(crate) fn try_withdraw(&self) -> bool {
        self.budget.try_withdraw()
    }

    /// Refills the budget a little after a call that ended with a good status.
    pub(crate) fn deposit(&self, status: StatusCode) {
        if !status.is_server_error() && !RetryableOutcomes::TRANSIENT.contains_status(status) {
            self.budget.deposit();
        }
    }
}

#[cfg(test)]
mod tests {
    use forge_core::{AuthenticationError, AuthenticationErrorKind};
    use http::header::RETRY_AFTER;

    use super::*;
    use crate::{ExaminedResponse, HttpClientError};

    #[test]
    fn inv21_the_longer_of_the_strategys_delay_and_the_servers_is_waited_up_to_the_bound() {
        let strategy = SimpleRetryStrategy::new().delay(Duration::from_secs(10));
        for (retry_after, bound, seconds) in [
            (None, 60, 10),
            (Some("0"), 60, 10),
            (Some("9"), 60, 10),
            (Some("11"), 60, 11),
            (Some("60"), 60, 60),
            (Some("61"), 60, 60),
            (Some("1000000000"), 60, 60),
            (Some("99999999999999999999"), 60, 60),
            (Some("Fri, 31 Dec 9999 23:59:59 GMT"), 60, 60),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 60, 10),
            (Some("soon"), 60, 10),
            (Some("1e9"), 60, 10),
            (Some("1000"), 5, 10),
            (Some("1000"), 0, 10),
        ] {
            let limits = WaitLimits { retry_after: Duration::from_secs(bound), ..WaitLimits::default() };
            let policy = RetryPolicy::new(Arc::new(strategy), limits);
            let header = retry_after.map(|value| (RETRY_AFTER, HeaderValue::from_static(value)));
            let headers: HeaderMap = header.into_iter().collect();
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let examined = ExaminedResponse { status, headers: &headers, body: None };
            let delay = policy.delay(1, &RetryOutcome::Response(examined));
            assert_eq!(delay, Some(Duration::from_secs(seconds)), "{retry_after:?}, at most {bound} s");
            assert_eq!(policy.delay(4, &RetryOutcome::Response(examined)), None);
        }
    }

    #[test]
    fn inv21_without_a_token_the_cool_down_is_waited_unless_it_is_longer_than_the_bound() {
        let strategy = SimpleRetryStrategy::new().delay(Duration::from_secs(10));
        let limits = WaitLimits { cool_down: Duration::from_secs(30), ..WaitLimits::default() };
        let policy = RetryPolicy::new(Arc::new(strategy), limits);
        let seconds = Duration::from_secs;
        for (cool_down, retry_after, delay) in [
            // The source has no cool-down.
            (None, None, Some(seconds(10))),
            (None, Some(seconds(20)), Some(until_over(seconds(20)))),
            (None, Some(seconds(31)), None),
            // The cool-down is over, so the source fetches at once.
            (Some(Duration::ZERO), None, Some(seconds(10))),
            (Some(Duration::from_millis(250)), None, Some(Duration::from_millis(260))),
            (Some(seconds(2)), Some(seconds(40)), Some(until_over(seconds(2)))),
            (Some(seconds(30)), None, Some(until_over(seconds(30)))),
            (Some(seconds(31)), None, None),
            (Some(Duration::MAX), None, None),
        ] {
            let mut error = AuthenticationError::new("api", AuthenticationErrorKind::Connect);
            error = cool_down.into_iter().fold(error, AuthenticationError::with_cool_down);
            error = retry_after.into_iter().fold(error, AuthenticationError::with_retry_after);
            let error = HttpClientError::from(error);
            let outcome = RetryOutcome::Error(&error);
            assert_eq!(policy.delay(1, &outcome), delay, "{cool_down:?}, {retry_after:?}");
            assert_eq!(policy.delay(4, &outcome), None, "the strategy has the last word");
        }
    }
}
