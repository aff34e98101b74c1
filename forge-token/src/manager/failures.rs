use std::time::Duration;

use forge_core::{AuthenticationError, ClockReading, CoolDown};

/// The last failure, and how long the manager waits because of it. The table is in the rustdoc of [`TokenManager`](super::TokenManager).
#[derive(Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    last: Option<Failure>,
    bypasses: Bypasses,
}

/// How often a cool-down was bypassed lately.
#[derive(Default)]
struct Bypasses {
    count: u32,
    /// When the count starts anew, in monotonic milliseconds.
    until: i64,
}

/// New credentials end a cool-down at most this often in the time of one cool-down. Without the limit, a secret that
/// differs at each reading would cost a call each time.
const MAX_BYPASSES: u32 = 3;

struct Failure {
    error: AuthenticationError,
    /// In monotonic milliseconds, as all that follows.
    since: i64,
    /// When this manager's own back-off ends.
    backed_off_until: i64,
    /// How long the server, or another manager, has asked callers to wait.
    asked_for: i64,
    /// Whether a valid token was cached. If so, the back-off does not apply to callers without a valid token.
    had_token: bool,
    /// Whether the failure is that of another user of the storage.
    is_shared: bool,
}

impl Failure {
    /// The end of the cool-down, in monotonic milliseconds. Race: the cached token may be rejected or
    /// invalidated after the failure, so each call applies the present limits.
    fn until(&self, limits: CoolDownLimits, now: ClockReading) -> i64 {
        let elapsed = now.monotonic_millis().saturating_sub(self.since).max(0);
        let heeded = limits.retry_after(Duration::from_millis(elapsed.unsigned_abs()));
        let asked_until = self.since.saturating_add(self.asked_for.min(millis(heeded)));
        let is_moot = self.had_token && limits.token_lasts.is_none();
        if is_moot { asked_until } else { asked_until.max(self.backed_off_until) }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A server that failed once often answers the next call, so the first wait is short. A permanent failure needs an
/// operator, so its first wait is longer.
pub(crate) const INITIAL_COOL_DOWN: Duration = Duration::from_millis(250);
const INITIAL_COOL_DOWN_IF_PERMANENT: Duration = Duration::from_secs(10);
/// The longest that callers wait after a server has recovered.
const MAX_COOL_DOWN: Duration = Duration::from_secs(60);
/// The limits of `Retry-After`: see `CoolDownLimits::retry_after`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
const MAX_RETRY_AFTER_WITHOUT_TOKEN: Duration = Duration::from_secs(300);

/// The limits of a cool-down.
#[derive(Clone, Copy)]
pub(crate) struct CoolDownLimits {
    /// How long callers can go on with the cached token; `None`: they cannot.
    pub(crate) token_lasts: Option<Duration>,
    /// The setting; `None`: the defaults.
    pub(crate) max_retry_after: Option<Duration>,
}

impl CoolDownLimits {
    /// The longest `Retry-After` that the manager honours. While a token is cached, waiting is cheap. After that, one
    /// stray header must not stop a fleet for an hour.
    ///
    /// `elapsed`: since the server asked for it.
    fn retry_after(self, elapsed: Duration) -> Duration {
        self.max_retry_after.unwrap_or_else(|| match self.token_lasts {
            Some(lasts) => {
                lasts.saturating_add(elapsed).clamp(MAX_RETRY_AFTER_WITHOUT_TOKEN, MAX_RETRY_AFTER)
            }
            None => MAX_RETRY_AFTER_WITHOUT_TOKEN,
        })
    }

    /// The longest cool-down that this manager shares through the storage: other processes may have no valid
    /// token.
    pub(crate) fn shared(self) -> Duration {
        self.max_retry_after.unwrap_or(MAX_RETRY_AFTER_WITHOUT_TOKEN)
    }

    /// The longest back-off of this manager. It ends with the cached token: a failed background renewal must not keep
    /// callers without a token from another attempt.
    fn back_off(self) -> Duration {
        self.token_lasts.unwrap_or(Duration::MAX)
    }
}

impl Failures {
    /// Remembers a failure. Returns when its cool-down ends, in monotonic milliseconds.
    pub(crate) fn record(
        &mut self,
        error: &AuthenticationError,
        limits: CoolDownLimits,
        now: ClockReading,
        random: f64,
    ) -> i64 {
        if let Some(left) = error.cool_down() {
            // The error comes from another manager. A longer cool-down than that manager's would add up
            // over a chain of managers.
            let had_token = limits.token_lasts.is_some();
            return self.adopt_failure(error, &CoolDown::new(left, 0), limits, now, had_token, false);
        }
        let initial = if error.is_permanent() { INITIAL_COOL_DOWN_IF_PERMANENT } else { INITIAL_COOL_DOWN };
        let backed_off = initial.saturating_mul(1 << self.in_a_row.min(8)).min(MAX_COOL_DOWN);
        // Fleet: up to half less at random, so that not all processes call again at once.
        let backed_off = backed_off.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0).min(limits.back_off());
        // At least as long as the server asks for. `Retry-After: 0` does not end the back-off: that would allow a call
        // per request.
        let since = now.monotonic_millis();
        self.in_a_row = self.in_a_row.saturating_add(1);
        let failure = Failure {
            error: error.clone(),
            since,
            backed_off_until: since.saturating_add(millis(backed_off)),
            asked_for: millis(error.retry_after().unwrap_or_default()),
            had_token: limits.token_lasts.is_some(),
            is_shared: false,
        };
        self.last.insert(failure).until(limits, now)
    }

    /// As [`record`](Self::record), for the failure of another user of the storage.
    pub(crate) fn adopt(
        &mut self,
        error: &AuthenticationError,
        cool_down: &CoolDown,
        limits: CoolDownLimits,
        now: ClockReading,
    ) -> i64 {
        self.adopt_failure(error, cool_down, limits, now, false, true)
    }

    fn adopt_failure(
        &mut self,
        error: &AuthenticationError,
        cool_down: &CoolDown,
        limits: CoolDownLimits,
        now: ClockReading,
        had_token: bool,
        is_shared: bool,
    ) -> i64 {
        let since = now.monotonic_millis();
        let left = millis(cool_down.left());
        self.continue_count_from(cool_down.failures());
        // While a token was cached, the other manager's cool-down counts as a back-off, which ends with that
        // token. Otherwise it counts as a `Retry-After`.
        let (backed_off, asked_for) = if had_token { (left, 0) } else { (0, left) };
        let failure = Failure {
            error: error.clone(),
            since,
            backed_off_until: since.saturating_add(backed_off),
            asked_for,
            had_token,
            is_shared,
        };
        self.last.insert(failure).until(limits, now)
    }

    /// Whether the cool-down of another user of the storage has lasted as long as this manager honours it.
    pub(crate) fn has_waited_for_others(&self, limits: CoolDownLimits, now: ClockReading) -> bool {
        let last = self.last.as_ref().filter(|last| last.is_shared);
        last.is_some_and(|last| now.monotonic_millis() >= last.until(limits, now))
    }

    /// Takes over the count of another user of the storage, if it is higher.
    pub(crate) fn continue_count_from(&mut self, failures: u32) {
        self.in_a_row = self.in_a_row.max(failures);
    }

    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The error that callers are told without a call, while the cool-down lasts.
    pub(crate) fn cooling_down(
        &self,
        limits: CoolDownLimits,
        now: ClockReading,
    ) -> Option<AuthenticationError> {
        let (error, left) = self.last(limits, now).filter(|(_, left)| !left.is_zero())?;
        Some(error.clone().with_cool_down(left))
    }

    /// Whether the cool-down may be bypassed once more. Counts the bypass.
    pub(crate) fn bypass(&mut self, limits: CoolDownLimits, now: ClockReading) -> bool {
        let until = self.last.as_ref().map(|failure| failure.until(limits, now));
        let now = now.monotonic_millis();
        if self.bypasses.count == 0 || now >= self.bypasses.until {
            let until = until.unwrap_or(now);
            self.bypasses = Bypasses { count: 0, until };
        }
        self.bypasses.count += 1;
        self.bypasses.count <= MAX_BYPASSES
    }

    /// The last failure since the last success, and how long its cool-down still lasts.
    pub(crate) fn last(
        &self,
        limits: CoolDownLimits,
        now: ClockReading,
    ) -> Option<(&AuthenticationError, Duration)> {
        let failure = self.last.as_ref()?;
        let left = failure.until(limits, now).saturating_sub(now.monotonic_millis()).max(0);
        Some((&failure.error, Duration::from_millis(left.unsigned_abs())))
    }
}

#[cfg(test)]
mod tests {
    use forge_core::{AuthenticationErrorKind, OAuthErrorCode};

    use super::*;

    const NO_TOKEN: CoolDownLimits = CoolDownLimits { token_lasts: None, max_retry_after: None };

    fn delays(error: &AuthenticationError, random: f64) -> Vec<i64> {
        let mut failures = Failures::default();
        (0..10).map(|_| failures.record(error, NO_TOKEN, ClockReading::from_millis(0, 0), random)).collect()
    }

    fn first_delay(error: &AuthenticationError, limits: CoolDownLimits) -> i64 {
        Failures::default().record(error, limits, ClockReading::from_millis(0, 0), 0.0)
    }

    #[test]
    fn inv08_transient_failures_back_off_and_permanent_ones_are_remembered_briefly() {
        let transient = AuthenticationError::new("s", AuthenticationErrorKind::Connect);
        let expected = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];
        assert_eq!(delays(&transient, 0.0), expected);
        assert_eq!(delays(&transient, 1.0)[..3], [125, 250, 500]);
        let refused = AuthenticationErrorKind::Refused(OAuthErrorCode::InvalidClient);
        let permanent = AuthenticationError::new("s", refused);
        assert_eq!(delays(&permanent, 0.0)[..4], [10_000, 20_000, 40_000, 60_000]);
    }

    #[test]
    fn inv08_retry_after_is_honoured_and_capped() {
        let asked = |seconds| {
            let error = AuthenticationError::new("s", AuthenticationErrorKind::Timeout);
            delays(&error.with_retry_after(Duration::from_secs(seconds)), 1.0)[0]
        };
        assert_eq!((asked(0), asked(7), asked(1_000_000_000)), (125, 7_000, 300_000));
    }

    #[test]
    fn inv08_a_stray_retry_after_silences_nobody_for_an_hour() {
        let seconds = Duration::from_secs;
        let error = AuthenticationError::new("s", AuthenticationErrorKind::Timeout);
        let error = error.with_retry_after(seconds(86_400));
        let asked = |token_lasts, max_retry_after| {
            first_delay(&error, CoolDownLimits { token_lasts, max_retry_after }) / 1_000
        };
        // With a cached token for as long as that lasts, but at least five minutes and at most an hour.
        assert_eq!(asked(None, None), 300);
        assert_eq!(asked(Some(seconds(20)), None), 300);
        assert_eq!(asked(Some(seconds(1_800)), None), 1_800);
        assert_eq!(asked(Some(seconds(10_000)), None), 3_600);
        assert_eq!(asked(None, Some(seconds(40))), 40);
        assert_eq!(asked(Some(seconds(10_000)), Some(seconds(7_200))), 7_200);
    }

    #[test]
    fn inv23_a_back_off_ends_with_the_token_at_hand() {
        let error = AuthenticationError::new("s", AuthenticationErrorKind::Timeout);
        let limits = |millis| CoolDownLimits {
            token_lasts: Some(Duration::from_millis(millis)),
            max_retry_after: None,
        };
        assert_eq!(first_delay(&error, limits(10_000)), 250);
        assert_eq!(first_delay(&error, limits(100)), 100);
        // The delay that the server asked for stays as it is.
        assert_eq!(first_delay(&error.with_retry_after(Duration::from_secs(2)), limits(100)), 2_000);
    }

    #[test]
    fn inv08_what_another_manager_stands_back_from_is_not_amplified() {
        let error = AuthenticationError::new("s", AuthenticationErrorKind::Connect);
        let error = error.with_cool_down(Duration::from_millis(700));
        assert!(delays(&error, 0.0).iter().all(|delay| *delay == 700));
        let mut failures = Failures::default();
        failures.record(&error, NO_TOKEN, ClockReading::from_millis(0, 0), 0.0);
        let told = failures.cooling_down(NO_TOKEN, ClockReading::from_millis(0, 200)).unwrap();
        assert_eq!(told.cool_down(), Some(Duration::from_millis(500)));
        failures.record(
            &error.with_cool_down(Duration::ZERO),
            NO_TOKEN,
            ClockReading::from_millis(0, 200),
            0.0,
        );
        assert!(failures.cooling_down(NO_TOKEN, ClockReading::from_millis(0, 200)).is_none());
    }

    #[test]
    fn inv08_a_cool_down_is_passed_over_three_times_per_step() {
        let mut failures = Failures::default();
        let error = AuthenticationError::new("s", AuthenticationErrorKind::Connect);
        let at = |millis| ClockReading::from_millis(0, millis);
        failures.record(&error, NO_TOKEN, at(0), 0.0);
        for allowed in [true, true, true, false, false] {
            assert_eq!(failures.bypass(NO_TOKEN, at(249)), allowed);
            failures.record(&error, NO_TOKEN, at(0), 0.0);
        }
        assert!(failures.bypass(NO_TOKEN, at(250)));
        failures.forget();
        assert!(failures.bypass(NO_TOKEN, at(250)));
    }

    #[test]
    fn inv08_nothing_is_remembered_for_ever() {
        let mut failures = Failures::default();
        let error = AuthenticationError::new("s", AuthenticationErrorKind::Connect);
        failures.record(&error, NO_TOKEN, ClockReading::from_millis(0, 0), 0.0);
        assert!(failures.cooling_down(NO_TOKEN, ClockReading::from_millis(0, 249)).is_some());
        assert!(failures.cooling_down(NO_TOKEN, ClockReading::from_millis(0, 250)).is_none());
        assert!(failures.last(NO_TOKEN, ClockReading::from_millis(0, 250)).is_some());
        failures.forget();
        assert!(failures.last(NO_TOKEN, ClockReading::from_millis(0, 0)).is_none());
    }
}
