use std::fmt;

use chrono::{DateTime, Utc};

#[cfg(feature = "test-util")]
pub use manual::ManualClock;

/// Where the time comes from: injected, so that tests move it instead of waiting for it.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Both clocks, read together.
    fn now(&self) -> ClockReading;
}

/// One reading of the wall clock and of the monotonic clock, in milliseconds.
///
/// Expiry is judged by both, and the earlier verdict wins: the wall clock can be stepped, the
/// monotonic one stands still while the machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    wall_millis: i64,
    monotonic_millis: i64,
}

impl ClockReading {
    /// A moment from its two readings: milliseconds since the Unix epoch, and since any fixed
    /// point of this process's life.
    #[must_use]
    pub const fn from_millis(wall: i64, monotonic: i64) -> Self {
        Self { wall_millis: wall, monotonic_millis: monotonic }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn wall_millis(self) -> i64 {
        self.wall_millis
    }

    /// Milliseconds since a fixed point; never goes back.
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

/// The machine's clocks. On Linux the coarse ones, which cost a few nanoseconds for both and are
/// exact to the kernel's tick (1 to 10 ms).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    #[inline]
    fn now(&self) -> ClockReading {
        use rustix::time::{ClockId, Timespec, clock_gettime};

        // The nanoseconds are never negative, and so divided faster.
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

    /// A clock that moves only when told to (feature `test-util`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use forge_core::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(clock.now().wall_millis() - before.wall_millis(), 60_000);
    /// ```
    #[derive(Debug)]
    pub struct ManualClock(Mutex<ClockReading>);

    impl ManualClock {
        /// A clock that stands at the machine's present time.
        #[must_use]
        pub fn new() -> Self {
            Self(Mutex::new(super::SystemClock.now()))
        }

        /// Time passes: both clocks go on.
        pub fn advance(&self, by: Duration) {
            self.step(millis(by), millis(by));
        }

        /// Somebody sets the wall clock, by a number of milliseconds; no time passes.
        pub fn step_wall(&self, by_millis: i64) {
            self.step(by_millis, 0);
        }

        /// The machine is suspended: the wall clock goes on, the monotonic one stands.
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
