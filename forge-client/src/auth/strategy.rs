use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

/// Decides whether, and after what delay, a request that was answered with 401 is sent again with
/// another token. It only decides: the client renews, sleeps and sends.
///
/// A `TokenManager` brings no second new token within a second of one that was rejected at once, so
/// further replays need delays that add up to more.
///
/// Some things are not up to a strategy: after `insufficient_scope` nothing is replayed, no token
/// that was rejected is sent again, and a body that cannot be replayed is sent once.
pub trait AuthRetryStrategy: Send + Sync + fmt::Debug {
    /// The delay before replay number `replay` (from 1 on); `None`: the answer goes to the caller.
    fn replay_after(&self, replay: u32, response: &RejectedResponse<'_>) -> Option<Duration>;

    /// Whether the body must be read before [`replay_after`](Self::replay_after) can decide.
    /// Default: no. It stays readable for the caller either way.
    fn reads_body(&self) -> bool {
        false
    }
}

/// A 401 as a strategy sees it.
#[derive(Clone, Copy)]
pub struct RejectedResponse<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> RejectedResponse<'a> {
    /// The status: 401.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The body as JSON; `None` if it is no such JSON, larger than 64 KiB, or was not
    /// [asked for](AuthRetryStrategy::reads_body).
    #[must_use]
    pub fn json_or_none<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.body?).ok()
    }
}

impl fmt::Debug for RejectedResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectedResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Replays after a fixed delay. Default: once, at once.
#[derive(Clone, Copy, Debug)]
pub struct SimpleAuthRetryStrategy {
    max_retries: u32,
    delay: Duration,
}

impl SimpleAuthRetryStrategy {
    /// Once, at once.
    #[must_use]
    pub fn new() -> Self {
        Self { max_retries: 1, delay: Duration::ZERO }
    }

    /// How often a request is replayed at most. Default: 1.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// How long to wait before each replay. Default: not at all.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl Default for SimpleAuthRetryStrategy {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthRetryStrategy for SimpleAuthRetryStrategy {
    fn replay_after(&self, replay: u32, _response: &RejectedResponse<'_>) -> Option<Duration> {
        (replay <= self.max_retries).then_some(self.delay)
    }
}

/// Replays after delays that grow: `base_delay`, times `multiplier`, … up to `max_delay`.
#[derive(Clone, Copy, Debug)]
pub struct ExponentialAuthRetryStrategy {
    max_retries: u32,
    base_delay: Duration,
    max_delay: Duration,
    multiplier: f64,
    jitter: bool,
}

impl ExponentialAuthRetryStrategy {
    /// Twice, after 0.5 s and 1 s, jittered.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_retries: 2,
            base_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(5),
            multiplier: 2.0,
            jitter: true,
        }
    }

    /// How often a request is replayed at most. Default: 2.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// The first delay. Default: 0.5 s.
    #[must_use]
    pub fn base_delay(mut self, delay: Duration) -> Self {
        self.base_delay = delay;
        self
    }

    /// The longest delay. Default: 5 s.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// By what each delay grows. Default: 2. Below 1, or no number: 1.
    #[must_use]
    pub fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier.max(1.0);
        self
    }

    /// Whether each delay is drawn from its upper half instead of being exact, so that many who were
    /// rejected together do not come back together. Default: yes.
    #[must_use]
    pub fn jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }
}

impl Default for ExponentialAuthRetryStrategy {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthRetryStrategy for ExponentialAuthRetryStrategy {
    fn replay_after(&self, replay: u32, _response: &RejectedResponse<'_>) -> Option<Duration> {
        if replay > self.max_retries {
            return None;
        }
        let exponent = i32::try_from(replay.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.base_delay.as_secs_f64() * self.multiplier.powi(exponent);
        let delay = Duration::try_from_secs_f64(seconds).unwrap_or(self.max_delay).min(self.max_delay);
        Some(if self.jitter { delay.mul_f64(0.5 + fastrand::f64() / 2.0) } else { delay })
    }
}

/// Replays when a closure says so, which sees status, headers and JSON body. Default: once.
///
/// ```
/// use forge_client::ConditionalAuthRetryStrategy;
///
/// let only_expired = ConditionalAuthRetryStrategy::new(|response| {
///     let body: Option<serde_json::Value> = response.json_or_none();
///     body.is_some_and(|body| body["error"] == "token_expired")
/// })
/// .max_retries(2);
/// ```
#[derive(Clone)]
pub struct ConditionalAuthRetryStrategy {
    max_retries: u32,
    condition: Condition,
}

type Condition = Arc<dyn Fn(&RejectedResponse<'_>) -> bool + Send + Sync>;

impl ConditionalAuthRetryStrategy {
    /// Once, if the closure says so.
    #[must_use]
    pub fn new(condition: impl Fn(&RejectedResponse<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { max_retries: 1, condition: Arc::new(condition) }
    }

    /// How often a request is replayed at most. Default: 1.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }
}

impl AuthRetryStrategy for ConditionalAuthRetryStrategy {
    fn replay_after(&self, replay: u32, response: &RejectedResponse<'_>) -> Option<Duration> {
        (replay <= self.max_retries && (self.condition)(response)).then_some(Duration::ZERO)
    }

    fn reads_body(&self) -> bool {
        true
    }
}

impl fmt::Debug for ConditionalAuthRetryStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionalAuthRetryStrategy")
            .field("max_retries", &self.max_retries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected<T>(body: Option<&[u8]>, look: impl FnOnce(&RejectedResponse<'_>) -> T) -> T {
        look(&RejectedResponse { status: StatusCode::UNAUTHORIZED, headers: &HeaderMap::new(), body })
    }

    #[test]
    fn exponential_delays_grow_to_the_cap_and_end() {
        let exact = ExponentialAuthRetryStrategy::new().jitter(false).max_retries(6);
        let delays: Vec<_> = (1..=7)
            .map(|replay| rejected(None, |r| exact.replay_after(replay, r)).map(|delay| delay.as_millis()))
            .collect();
        assert_eq!(delays, [Some(500), Some(1000), Some(2000), Some(4000), Some(5000), Some(5000), None]);
        let absurd = exact.multiplier(f64::NAN).max_retries(u32::MAX);
        assert!(rejected(None, |r| absurd.replay_after(u32::MAX, r)).is_some());
        let steep = exact.multiplier(f64::INFINITY);
        assert_eq!(rejected(None, |r| steep.replay_after(3, r)), Some(Duration::from_secs(5)));
    }

    #[test]
    fn jitter_stays_within_the_upper_half() {
        let strategy = ExponentialAuthRetryStrategy::new();
        for _ in 0..1_000 {
            let delay = rejected(None, |r| strategy.replay_after(1, r)).unwrap();
            assert!((250..=500).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn a_condition_sees_the_body() {
        let strategy = ConditionalAuthRetryStrategy::new(|response| {
            let body: Option<serde_json::Value> = response.json_or_none();
            body.is_some_and(|body| body["error"] == "token_expired")
        });
        assert!(strategy.reads_body());
        assert!(rejected(Some(br#"{"error":"token_expired"}"#), |r| strategy.replay_after(1, r)).is_some());
        assert!(rejected(Some(br#"{"error":"token_expired"}"#), |r| strategy.replay_after(2, r)).is_none());
        assert!(rejected(Some(b"no JSON"), |r| strategy.replay_after(1, r)).is_none());
        assert!(rejected(None, |r| strategy.replay_after(1, r)).is_none());
    }
}
