use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::retryable::{RetryableOutcomes, retryable_setters};
use crate::timing::{Backoff, RepeatSchedule, backoff_setters, fixed_delay_setters};
use crate::{CircuitBreaker, ExaminedResponse, HttpClientError};

/// Decides whether the client sends a failed request again, and after what delay. A strategy only decides: the
/// client sleeps and sends.
///
/// The client keeps some rules whatever the strategy says:
///
/// - It asks the strategy only about requests that it may repeat: those with an idempotent method (RFC 9110 9.2.2),
///   with an `Idempotency-Key`, or with [`retry_any_method`](crate::RequestBuilder::retry_any_method), and only if it
///   can send the body again.
/// - It waits as long as the server asks for in `Retry-After`, if that is longer than the strategy's delay.
/// - It makes no retry if its budget is used up, or if the retry would begin after the call's
///   [total time-out](crate::HttpClientConfigBuilder::with_total_timeout).
///
/// The client also asks the strategy if it sent nothing because it got no token, and may get one later. The retry
/// then asks the token source again. If the source has a cool-down, the retry waits for that instead of the
/// strategy's delay. If the cool-down is longer than
/// [`with_max_cool_down`](crate::HttpClientConfigBuilder::with_max_cool_down), there is no retry.
///
/// ```
/// use std::time::Duration;
/// use requestforge::retry::{RetryOutcome, RetryStrategy};
/// use requestforge::HttpClient;
///
/// /// Asks twice more when the server is being deployed.
/// #[derive(Debug)]
/// struct DuringDeployments;
///
/// impl RetryStrategy for DuringDeployments {
///     fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
///         let is_down = outcome.status_code().is_some_and(|status| status == 502);
///         (retry <= 2 && is_down).then_some(Duration::from_secs(5))
///     }
/// }
///
/// let client =
///     HttpClient::builder("https://api.example.com").with_retry_strategy(DuringDeployments).build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
pub trait RetryStrategy: Send + Sync + fmt::Debug {
    /// The delay before retry number `retry` (from 1 on); `None`: the caller gets the outcome.
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration>;

    /// The former name of [`delay_before_retry`](Self::delay_before_retry), for callers.
    #[doc(hidden)]
    #[deprecated(note = "renamed to `delay_before_retry`")]
    fn retry_after(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        self.delay_before_retry(retry, outcome)
    }

    /// Whether the body of a response with this status and these headers must be read before
    /// [`delay_before_retry`](Self::delay_before_retry) can decide, up to 64 KiB of it. Default: no. The caller can
    /// read the body either way. But the caller then waits for the body: if it never ends, until the time-out.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use requestforge::retry::{RetryOutcome, RetryStrategy};
    /// use http::{HeaderMap, StatusCode};
    ///
    /// /// Some conflicts are over soon.
    /// #[derive(Debug)]
    /// struct WhileLocked;
    ///
    /// impl RetryStrategy for WhileLocked {
    ///     fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
    ///         let RetryOutcome::Response(response) = outcome else { return None };
    ///         let body: serde_json::Value = response.json_or_none()?;
    ///         (retry <= 2 && body["error"] == "locked").then_some(Duration::from_secs(1))
    ///     }
    ///
    ///     fn reads_body(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
    ///         status == StatusCode::CONFLICT
    ///     }
    /// }
    /// ```
    fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let _ = (status, headers);
        false
    }

    /// A breaker that the client asks before it sends anything: see [`CircuitBreakerRetryStrategy`]. The builder of
    /// the client calls this once. Default: none.
    ///
    /// [`CircuitBreakerRetryStrategy`]: crate::CircuitBreakerRetryStrategy
    fn circuit_breaker(&self) -> Option<&CircuitBreaker> {
        None
    }
}

/// The outcome of a request, as a strategy sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RetryOutcome<'a> {
    /// A response of any status.
    Response(ExaminedResponse<'a>),
    /// No response came: the client could not connect, the response did not come in time, or the connection was cut.
    /// Or the client sent nothing, because it got no token
    /// ([`authentication_error`](HttpClientError::authentication_error)) and may get one later.
    Error(&'a HttpClientError),
}

impl<'a> RetryOutcome<'a> {
    /// The status, if there was a response.
    #[must_use]
    pub fn status_code(&self) -> Option<StatusCode> {
        match self {
            Self::Response(response) => Some(response.status_code()),
            Self::Error(_) => None,
        }
    }

    /// The headers, if there was a response.
    #[must_use]
    pub fn headers(&self) -> Option<&'a HeaderMap> {
        match self {
            Self::Response(response) => Some(response.headers()),
            Self::Error(_) => None,
        }
    }

    /// Whether a later attempt may succeed: status 408, 429, 500, 502, 503 or 504, no connection, no response
    /// in time, an interrupted exchange, or a [transient](forge_core::AuthenticationError::is_transient) lack
    /// of a token. An untrusted certificate, or another failure of TLS, is not transient.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        RetryableOutcomes::TRANSIENT.contains(self)
    }

    /// The cool-down of the token source, if the client got no token and the source reports one.
    pub(super) fn cool_down(&self) -> Option<Duration> {
        let Self::Error(error) = self else { return None };
        let lack_of_token = error.authentication_error()?;
        lack_of_token.cool_down().or(lack_of_token.retry_after()).filter(|cool_down| !cool_down.is_zero())
    }
}

/// Retries nothing. This is the default of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRetryStrategy;

impl RetryStrategy for NoRetryStrategy {
    fn delay_before_retry(&self, _retry: u32, _outcome: &RetryOutcome<'_>) -> Option<Duration> {
        None
    }
}

/// Retries what is [transient](RetryOutcome::is_transient) after a fixed delay. Default: 3 times, after
/// 1 s each.
#[derive(Clone, Copy, Debug)]
pub struct SimpleRetryStrategy {
    schedule: RepeatSchedule<Duration>,
    retryable: RetryableOutcomes,
}

impl SimpleRetryStrategy {
    /// 3 times, after 1 s each.
    #[must_use]
    pub fn new() -> Self {
        let schedule = RepeatSchedule { max_retries: 3, delays: Duration::from_secs(1) };
        Self { schedule, retryable: RetryableOutcomes::TRANSIENT }
    }

    fixed_delay_setters!("3", "1 s");
    retryable_setters!(SimpleRetryStrategy);
}

impl Default for SimpleRetryStrategy {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryStrategy for SimpleRetryStrategy {
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        if self.retryable.contains(outcome) { self.schedule.delay_before(retry) } else { None }
    }
}

/// Retries what is [transient](RetryOutcome::is_transient) after delays that grow: `base_delay`, times
/// `multiplier`, … up to `max_delay`.
///
/// | setting | default |
/// | --- | --- |
/// | [`max_retries`](Self::max_retries) | 3 |
/// | [`base_delay`](Self::base_delay) | 1 s |
/// | [`max_delay`](Self::max_delay) | 60 s |
/// | [`multiplier`](Self::multiplier) | 2 |
/// | [`jitter`](Self::jitter) | yes |
/// | [`retryable_status_codes`](Self::retryable_status_codes) | 408, 429, 500, 502, 503, 504 |
/// | [`retryable_errors`](Self::retryable_errors) | all but those of TLS |
#[derive(Clone, Copy, Debug)]
pub struct ExponentialBackoffRetryStrategy {
    schedule: RepeatSchedule<Backoff>,
    retryable: RetryableOutcomes,
}

impl ExponentialBackoffRetryStrategy {
    /// 3 times, after 1 s, 2 s and 4 s, jittered.
    #[must_use]
    pub fn new() -> Self {
        let delays = Backoff {
            base_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            multiplier: 2.0,
            jitter: true,
        };
        let schedule = RepeatSchedule { max_retries: 3, delays };
        Self { schedule, retryable: RetryableOutcomes::TRANSIENT }
    }

    backoff_setters!("3", "1 s", "60 s");
    retryable_setters!(ExponentialBackoffRetryStrategy);
}

impl Default for ExponentialBackoffRetryStrategy {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryStrategy for ExponentialBackoffRetryStrategy {
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        if self.retryable.contains(outcome) { self.schedule.delay_before(retry) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, strategy: &dyn RetryStrategy, retry: u32) -> Option<Duration> {
        let headers = HeaderMap::new();
        let status = StatusCode::from_u16(status).unwrap();
        let response = ExaminedResponse { status, headers: &headers, body: None };
        strategy.delay_before_retry(retry, &RetryOutcome::Response(response))
    }

    #[test]
    fn what_may_be_better_in_a_moment_is_retried() {
        let (simple, exponential) = (SimpleRetryStrategy::new(), ExponentialBackoffRetryStrategy::new());
        for status in 100..=599 {
            let transient = [408, 429, 500, 502, 503, 504].contains(&status);
            assert_eq!(answered(status, &simple, 1).is_some(), transient, "{status}");
            assert_eq!(answered(status, &exponential, 1).is_some(), transient, "{status}");
            assert_eq!(answered(status, &NoRetryStrategy, 1), None);
        }
    }

    #[test]
    fn a_strategy_retries_the_chosen_statuses_only() {
        let chosen = [StatusCode::LOCKED, StatusCode::from_u16(999).unwrap()];
        let simple = SimpleRetryStrategy::new().retryable_status_codes(chosen);
        let exponential = ExponentialBackoffRetryStrategy::new().retryable_status_codes(chosen);
        for status in 100..=999 {
            let is_chosen = [423, 999].contains(&status);
            assert_eq!(answered(status, &simple, 1).is_some(), is_chosen, "{status}");
            assert_eq!(answered(status, &exponential, 1).is_some(), is_chosen, "{status}");
        }
        assert_eq!(answered(503, &SimpleRetryStrategy::new().retryable_status_codes([]), 1), None);
        let shown = format!("{:?} {simple:?}", SimpleRetryStrategy::new());
        assert!(shown.contains("[408, 429, 500, 502, 503, 504]") && shown.contains("[423, 999]"), "{shown}");
    }

    #[test]
    fn the_documented_defaults() {
        let seconds = |strategy: &dyn RetryStrategy| {
            (1..=4)
                .map(|retry| answered(503, strategy, retry).map(|delay| delay.as_secs()))
                .collect::<Vec<_>>()
        };
        let exact = ExponentialBackoffRetryStrategy::new().jitter(false);
        assert_eq!(seconds(&exact), [Some(1), Some(2), Some(4), None]);
        assert_eq!(answered(503, &exact.max_retries(9), 7), Some(Duration::from_secs(60)));
        assert_eq!(seconds(&SimpleRetryStrategy::new()), [Some(1), Some(1), Some(1), None]);
    }
}
