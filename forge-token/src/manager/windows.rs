use std::time::Duration;

use forge_core::{ClockReading, TokenData};

/// How long before its expiry a token is renewed: from the advisory window on in the background, from the mandatory one
/// on while callers wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) advisory: Duration,
    pub(crate) mandatory: Duration,
}

/// The beginnings of both windows of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenewalTimes {
    pub(crate) advisory: DualClockTime,
    pub(crate) mandatory: DualClockTime,
}

/// One moment by both clocks, in milliseconds. `i64::MAX`: never. Clock steps: the wall clock may be set,
/// and the monotonic one stops while the machine sleeps, so the earlier verdict counts (invariant 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DualClockTime {
    wall: i64,
    monotonic: i64,
}

impl DualClockTime {
    const NEVER: Self = Self { wall: i64::MAX, monotonic: i64::MAX };

    /// A moment that only the monotonic clock tells.
    pub(crate) const fn monotonic(millis: i64) -> Self {
        Self { wall: i64::MAX, monotonic: millis }
    }

    /// The earlier of the two times, separately for each clock.
    pub(crate) fn or_sooner(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), monotonic: self.monotonic.min(other.monotonic) }
    }

    /// Whether at least one of the clocks has reached its time.
    #[inline]
    pub(crate) fn is_reached(&self, now: ClockReading) -> bool {
        now.wall_millis() >= self.wall || now.monotonic_millis() >= self.monotonic
    }

    /// How long until then, in milliseconds; `None`: for ever.
    pub(crate) fn left(&self, now: ClockReading) -> Option<i64> {
        let left = |at: i64, now: i64| (at != i64::MAX).then(|| at.saturating_sub(now).max(0));
        let wall = left(self.wall, now.wall_millis())?;
        Some(wall.min(left(self.monotonic, now.monotonic_millis())?))
    }

    /// The same moment on both clocks, so that a step of one of them cannot stretch a token's life.
    fn after(millis: i64, now: ClockReading) -> Self {
        Self {
            wall: now.wall_millis().saturating_add(millis),
            monotonic: now.monotonic_millis().saturating_add(millis),
        }
    }
}

impl Windows {
    /// `random`, from 0 to 1, moves the advisory moment, so that a fleet does not renew as one.
    pub(crate) fn of(&self, token: &TokenData, now: ClockReading, random: f64) -> RenewalTimes {
        let Some(mandatory_at) = token.usable_until_with(self.mandatory) else {
            return RenewalTimes { advisory: DualClockTime::NEVER, mandatory: DualClockTime::NEVER };
        };
        let end = mandatory_at.timestamp_millis();
        let left = end.saturating_sub(now.wall_millis());
        // Never more than the issuer gave, even if the wall clock was set back since.
        let given = token.issued_at().map_or(i64::MAX, |at| end.saturating_sub(at.timestamp_millis()));
        let left = left.min(given);
        let mandatory = DualClockTime::after(left, now);
        // The time before the mandatory window: at least half of the token's lifetime.
        let usable = left.max(0);
        let window = self.advisory.saturating_sub(self.mandatory);
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).min(usable / 2);
        // Fleet: jitter takes at most a quarter of the window, so that three quarters are left for the renewal.
        let jittered =
            Duration::from_millis(window.unsigned_abs()).mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0);
        let lead = i64::try_from(jittered.as_millis()).unwrap_or(window);
        RenewalTimes { advisory: DualClockTime::after(usable - lead, now), mandatory }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn times(life: u64, random: f64) -> (i64, i64) {
        let now = ClockReading::from_millis(1_000_000, 5_000);
        let expires_at = now.wall() + Duration::from_secs(life);
        let token = TokenData::new("t").with_issued_at(now.wall()).with_expires_at(expires_at);
        let windows = Windows { advisory: Duration::from_secs(300), mandatory: Duration::from_secs(30) };
        let times = windows.of(&token, now, random);
        (times.advisory.left(now).unwrap(), times.mandatory.left(now).unwrap())
    }

    #[test]
    fn inv06_the_advisory_window_comes_well_before_the_mandatory_one_whatever_the_lifetime() {
        assert_eq!(times(3600, 0.0), (3_300_000, 3_570_000));
        assert_eq!(times(3600, 1.0), (3_367_500, 3_570_000));
        assert_eq!(times(60, 0.0), (15_000, 30_000));
        assert_eq!(times(5, 0.0), (1_250, 2_500));
        for life in [1, 2, 5, 20, 60, 61, 299, 300, 301, 3600, 86_400] {
            for random in [0.0, 0.3, 1.0] {
                let (advisory, mandatory) = times(life, random);
                assert!(0 < advisory && advisory < mandatory, "{life} {random}: {advisory} {mandatory}");
            }
        }
    }

    #[test]
    fn a_token_without_expiry_is_never_renewed() {
        let windows = Windows { advisory: Duration::MAX, mandatory: Duration::ZERO };
        let times = windows.of(&TokenData::new("t"), ClockReading::from_millis(0, 0), 0.5);
        assert!(!times.advisory.is_reached(ClockReading::from_millis(i64::MAX - 1, i64::MAX - 1)));
        assert_eq!(times.mandatory.left(ClockReading::from_millis(0, 0)), None);
    }

    #[test]
    fn absurd_windows_and_expiries_do_not_overflow() {
        for expires_at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            for span in [Duration::ZERO, Duration::MAX] {
                let token =
                    TokenData::new("t").with_issued_at(DateTime::UNIX_EPOCH).with_expires_at(expires_at);
                let windows = Windows { advisory: span, mandatory: span };
                let times = windows.of(&token, ClockReading::from_millis(0, 0), 1.0);
                assert!(times.mandatory.left(ClockReading::from_millis(i64::MIN, i64::MIN)).is_some());
            }
        }
    }
}
