use std::fmt;

use chrono::{DateTime, Utc};

#[cfg(feature = "test-util")]
pub use manual::ManualClock;

/// The source of the time. Every part of the library gets it as a parameter, so that tests move the time instead of
/// waiting.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Reads both clocks.
    fn now(&self) -> ClockReading;
}

/// One reading of the wall clock and of the monotonic clock, in milliseconds.
///
/// A manager judges expiry by both clocks, and the earlier verdict wins: an operator may set the wall clock back, and the
/// monotonic clock stops while the machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    wall_millis: i64,
    monotonic_millis: i64,
}

impl ClockReading {
    /// A reading of milliseconds since the Unix epoch, and of milliseconds since any fixed point in the life of this
    /// process.
    #[must_use]
    pub const fn from_millis(wall: i64, monotonic: i64) -> Self {
        Self { wall_millis: wall, monotonic_millis: monotonic }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn wall_millis(self) -> i64 {
        self.wall_millis
    }

    /// Milliseconds since a fixed point. A later reading is never smaller.
    #[must_use]
    pub const fn monotonic_millis(self) -> i64 {
        self.monotonic_millis
    }

    /// The wall clock as a date.
    #[must_use]
    pub fn wall(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.wall_millis).unwrap_or_default()
    }
}

/// The machine's clocks. On Linux these are the coarse ones: both together cost a few nanoseconds, and they are exact to
/// the kernel's tick (1 to 10 ms).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    #[inline]
    fn now(&self) -> ClockReading {
        use rustix::time::{ClockId, Timespec, clock_gettime};

        // Nanoseconds are never negative, and unsigned division is faster.
        let millis =
            |time: Timespec| time.tv_sec * 1_000 + (time.tv_nsec.cast_unsigned() / 1_000_000).cast_signed();
        ClockReading::from_millis(
            millis(clock_gettime(ClockId::RealtimeCoarse)),
            millis(clock_gettime(ClockId::MonotonicCoarse)),
        )
    }

    #[cfg(not(target_os = "linux"))]
    fn now(&self) -> ClockReading {
        use std::sync::OnceLock;
        use std::time::{Instant, SystemTime, UNIX_EPOCH};

        static START: OnceLock<Instant> = OnceLock::new();
        let millis = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        };
        ClockReading::from_millis(wall, millis(START.get_or_init(Instant::now).elapsed()))
    }
}

#[cfg(feature = "test-util")]
mod manual {
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use super::{Clock, ClockReading};

    /// A clock that only a test moves (feature `test-util`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use requestforge::testing::ManualClock;
    /// use requestforge::token::Clock;
    ///
    /// let clock = ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(clock.now().wall_millis() - before.wall_millis(), 60_000);
    /// ```
    #[derive(Debug)]
    pub struct ManualClock(Mutex<ClockReading>);

    impl ManualClock {
        /// A clock that shows the machine's present time and stops there.
        #[must_use]
        pub fn new() -> Self {
            Self(Mutex::new(super::SystemClock.now()))
        }

        /// Lets time pass: both clocks move.
        pub fn advance(&self, by: Duration) {
            self.step(millis(by), millis(by));
        }

        /// Sets the wall clock forward or back by this number of milliseconds. No time passes.
        pub fn step_wall(&self, by_millis: i64) {
            self.step(by_millis, 0);
        }

        /// Suspends the machine: the wall clock moves, the monotonic clock does not.
        pub fn suspend(&self, duration: Duration) {
            self.step(millis(duration), 0);
        }

        fn step(&self, wall: i64, monotonic: i64) {
            let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *now = ClockReading::from_millis(
                now.wall_millis.saturating_add(wall),
                now.monotonic_millis.saturating_add(monotonic),
            );
        }
    }

    impl Default for ManualClock {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> ClockReading {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    fn millis(duration: Duration) -> i64 {
        i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_agrees_with_std_and_goes_on() {
        let first = SystemClock.now();
        let wall = Utc::now().timestamp_millis();
        assert!((first.wall_millis() - wall).abs() < 1_000);
        let second = SystemClock.now();
        assert!(second.monotonic_millis() >= first.monotonic_millis());
    }
}
