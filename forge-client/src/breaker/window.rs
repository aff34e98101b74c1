use std::time::Duration;

use super::circuit::to_millis;

/// The share of failures that opens a circuit.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailureRate {
    pub(super) rate: f64,
    pub(super) minimum_calls: u32,
    pub(super) window: Duration,
}

/// Counts the calls and failures within a window of time, by tenths of the window.
#[derive(Debug)]
pub(super) struct Window {
    limit: FailureRate,
    tenths: [Tenth; 10],
    /// The number of the current tenth, counted from the clock's zero.
    current: i64,
}

const TENTHS: i64 = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Tenth {
    calls: u32,
    failures: u32,
}

impl Window {
    pub(super) fn new(limit: FailureRate) -> Self {
        Self { limit, tenths: [Tenth::default(); 10], current: 0 }
    }

    /// Counts a call. Returns whether too many calls fail.
    pub(super) fn record(&mut self, failed: bool, now: i64) -> bool {
        self.move_to(now / (to_millis(self.limit.window) / TENTHS).max(1));
        let tenth = self.tenth(self.current);
        tenth.calls = tenth.calls.saturating_add(1);
        tenth.failures = tenth.failures.saturating_add(u32::from(failed));
        let sum = |count: fn(&Tenth) -> u32| self.tenths.iter().map(|tenth| f64::from(count(tenth))).sum();
        let (calls, failures): (f64, f64) = (sum(|tenth| tenth.calls), sum(|tenth| tenth.failures));
        failed && calls >= f64::from(self.limit.minimum_calls) && failures >= self.limit.rate * calls
    }

    fn move_to(&mut self, now: i64) {
        // Clears the tenths that passed without a call, at most all ten. Race: two threads may read the clock in one
        // order and take the lock in the other, so `now` may be before `current`; then nothing is cleared.
        let oldest = now.saturating_sub(TENTHS);
        for passed in self.current.max(oldest) + 1..=now {
            *self.tenth(passed) = Tenth::default();
        }
        self.current = self.current.max(now);
    }

    fn tenth(&mut self, number: i64) -> &mut Tenth {
        &mut self.tenths[usize::try_from(number.rem_euclid(TENTHS)).unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(rate: f64, minimum_calls: u32) -> Window {
        Window::new(FailureRate { rate, minimum_calls, window: Duration::from_secs(10) })
    }

    #[test]
    fn too_few_calls_say_nothing() {
        let mut window = window(0.5, 4);
        assert!(!(0..3).any(|_| window.record(true, 0)));
        assert!(window.record(true, 0));
    }

    #[test]
    fn a_rate_is_reached_when_that_share_failed() {
        let mut window = window(0.5, 4);
        assert!(!window.record(false, 0));
        assert!(!window.record(false, 0));
        assert!(!window.record(true, 0));
        assert!(window.record(true, 0));
        let mut always = Window::new(FailureRate { rate: 1.0, ..window.limit });
        always.record(false, 0);
        assert!(!(0..100).any(|_| always.record(true, 0)));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut window = window(0.5, 4);
        for second in 0..3 {
            assert!(!window.record(true, second * 1_000));
        }
        // The first call is out of the window by now.
        assert!(!window.record(true, 10_000));
        assert!(window.record(true, 10_999));
        assert!(!window.record(true, i64::MAX));
        assert!(!window.record(true, 0));
    }
}
