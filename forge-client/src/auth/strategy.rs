use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ExaminedResponse;
use crate::timing::{Backoff, RepeatSchedule, backoff_setters, fixed_delay_setters};

/// Decides whether the client sends a request again with another token after a 401, and after what delay. A strategy
/// only decides: the client renews, sleeps and sends.
///
/// For the first replay the client renews the token at once, waits for the strategy's delay, and sends. For each
/// later one it waits first, and then renews the token and sends at once. It waits for the strategy's delay, or
/// until the token source renews again ([`next_renewal_in`](forge_core::TokenSource::next_renewal_in)) if that is
/// later. After renewals that do not help, a `TokenManager` backs off, for 1, 2, 4, … 60 s. If the source renews
/// nothing for longer than 60 s, the caller gets the 401 at once.
///
/// The client keeps some rules whatever the strategy says. It replays nothing after `insufficient_scope`, it sends no
/// rejected token again, and it sends a body once that it cannot send again.
pub trait AuthRetryStrategy: Send + Sync + fmt::Debug {
    /// The delay before replay number `replay` (from 1 on); `None`: the caller gets the response.
    fn delay_before_replay(&self, replay: u32, response: &ExaminedResponse<'_>) -> Option<Duration>;

    /// The former name of [`delay_before_replay`](Self::delay_before_replay), for callers.
    #[doc(hidden)]
    #[deprecated(note = "renamed to `delay_before_replay`")]
    fn replay_after(&self, replay: u32, response: &ExaminedResponse<'_>) -> Option<Duration> {
        self.delay_before_replay(replay, response)
    }

    /// Whether the body must be read before [`delay_before_replay`](Self::delay_before_replay) can decide.
    /// Default: no. The caller can read the body either way.
    fn reads_body(&self) -> bool {
        false
    }
}

/// Replays after a fixed delay. Default: once, without a delay.
///
/// ```
/// use std::time::Duration;
/// use requestforge::{HttpClientConfigBuilder, SimpleAuthRetryStrategy, TokenAuth};
///
/// # fn run(
/// #     token_manager: impl requestforge::TokenSource + 'static,
/// # ) -> Result<(), requestforge::HttpClientError> {
/// let config = HttpClientConfigBuilder::new()
///     .with_base_url("https://api.example.com")
///     .with_token_auth(TokenAuth::new(token_manager).auth_retry_strategy(
///         SimpleAuthRetryStrategy::new().max_retries(1).delay(Duration::from_millis(500)),
///     ))
///     .build()?;
/// # Ok(())
/// # }
/// # run(requestforge::StaticTokenSource::new(requestforge::TokenData::new("t")).unwrap()).unwrap();
/// ```
#[doc(alias = "NoAuthRetryStrategy")]
#[derive(Clone, Copy, Debug)]
pub struct SimpleAuthRetryStrategy {
    schedule: RepeatSchedule<Duration>,
}

impl SimpleAuthRetryStrategy {
    /// One replay, without a delay.
    #[must_use]
    pub fn new() -> Self {
        Self { schedule: RepeatSchedule { max_retries: 1, delays: Duration::ZERO } }
    }

    fixed_delay_setters!("1", "no wait");
}

impl Default for SimpleAuthRetryStrategy {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthRetryStrategy for SimpleAuthRetryStrategy {
    fn delay_before_replay(&self, replay: u32, _response: &ExaminedResponse<'_>) -> Option<Duration> {
        self.schedule.delay_before(replay)
    }
}

/// Replays after delays that grow: `base_delay`, times `multiplier`, … up to `max_delay`.
///
/// ```
/// use std::time::Duration;
/// use requestforge::ExponentialAuthRetryStrategy;
///
/// let auth_retry = ExponentialAuthRetryStrategy::new()
///     .max_retries(3)
///     .base_delay(Duration::from_millis(500))
///     .max_delay(Duration::from_secs(5))
///     .multiplier(2.0)
///     .jitter(true);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ExponentialAuthRetryStrategy {
    schedule: RepeatSchedule<Backoff>,
}

impl ExponentialAuthRetryStrategy {
    /// Two replays, after 0.5 s and 1 s, with jitter.
    #[must_use]
    pub fn new() -> Self {
        let delays = Backoff {
            base_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(5),
            multiplier: 2.0,
            jitter: true,
        };
        Self { schedule: RepeatSchedule { max_retries: 2, delays } }
    }

    backoff_setters!("2", "0.5 s", "5 s");
}

impl Default for ExponentialAuthRetryStrategy {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthRetryStrategy for ExponentialAuthRetryStrategy {
    fn delay_before_replay(&self, replay: u32, _response: &ExaminedResponse<'_>) -> Option<Duration> {
        self.schedule.delay_before(replay)
    }
}

/// Replays if a closure says so. The closure sees the status, the headers and the JSON body. Default: once.
///
/// ```
/// use requestforge::ConditionalAuthRetryStrategy;
///
/// let only_expired = ConditionalAuthRetryStrategy::new(|response| {
///     let body: Option<serde_json::Value> = response.json_or_none();
///     body.is_some_and(|body| body["error"] == "token_expired")
/// })
/// .max_retries(2);
/// ```
#[derive(Clone)]
pub struct ConditionalAuthRetryStrategy {
    schedule: RepeatSchedule<Duration>,
    condition: Condition,
}

type Condition = Arc<dyn Fn(&ExaminedResponse<'_>) -> bool + Send + Sync>;

impl ConditionalAuthRetryStrategy {
    /// Replays once and without a delay, if the closure returns `true`.
    #[doc(alias = "should_retry_func")]
    #[must_use]
    pub fn new(condition: impl Fn(&ExaminedResponse<'_>) -> bool + Send + Sync + 'static) -> Self {
        let schedule = RepeatSchedule { max_retries: 1, delays: Duration::ZERO };
        Self { schedule, condition: Arc::new(condition) }
    }

    fixed_delay_setters!("1", "no wait");
}

impl AuthRetryStrategy for ConditionalAuthRetryStrategy {
    fn delay_before_replay(&self, replay: u32, response: &ExaminedResponse<'_>) -> Option<Duration> {
        let delay = self.schedule.delay_before(replay)?;
        (self.condition)(response).then_some(delay)
    }

    fn reads_body(&self) -> bool {
        true
    }
}

impl fmt::Debug for ConditionalAuthRetryStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionalAuthRetryStrategy")
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn rejected<T>(body: Option<&[u8]>, look: impl FnOnce(&ExaminedResponse<'_>) -> T) -> T {
        look(&ExaminedResponse { status: StatusCode::UNAUTHORIZED, headers: &HeaderMap::new(), body })
    }

    #[test]
    fn exponential_delays_end() {
        let exact = ExponentialAuthRetryStrategy::new().jitter(false);
        let delays: Vec<_> = (1..=3)
            .map(|replay| {
                rejected(None, |r| exact.delay_before_replay(replay, r)).map(|delay| delay.as_millis())
            })
            .collect();
        assert_eq!(delays, [Some(500), Some(1000), None]);
    }

    #[test]
    fn a_condition_decides_whether_to_replay_and_the_setting_decides_when() {
        let strategy = ConditionalAuthRetryStrategy::new(|_| true);
        assert_eq!(rejected(None, |r| strategy.delay_before_replay(1, r)), Some(Duration::ZERO));
        let delay = Duration::from_millis(500);
        let strategy = strategy.max_retries(2).delay(delay);
        let delays = [1, 2, 3].map(|replay| rejected(None, |r| strategy.delay_before_replay(replay, r)));
        assert_eq!(delays, [Some(delay), Some(delay), None]);
    }

    #[test]
    fn a_condition_sees_the_body() {
        let strategy = ConditionalAuthRetryStrategy::new(|response| {
            let body: Option<serde_json::Value> = response.json_or_none();
            body.is_some_and(|body| body["error"] == "token_expired")
        });
        assert!(strategy.reads_body());
        assert!(
            rejected(Some(br#"{"error":"token_expired"}"#), |r| strategy.delay_before_replay(1, r)).is_some()
        );
        assert!(
            rejected(Some(br#"{"error":"token_expired"}"#), |r| strategy.delay_before_replay(2, r)).is_none()
        );
        assert!(rejected(Some(b"no JSON"), |r| strategy.delay_before_replay(1, r)).is_none());
        assert!(rejected(None, |r| strategy.delay_before_replay(1, r)).is_none());
    }
}
