use std::time::Duration;

use forge_core::clamp_duration;

/// Delays that grow: `base_delay`, times `multiplier`, … up to `max_delay`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) base_delay: Duration,
    pub(crate) max_delay: Duration,
    pub(crate) multiplier: f64,
    /// Whether each delay is drawn at random from its upper half. So clients that failed together do not come back
    /// together.
    pub(crate) jitter: bool,
}

impl Backoff {
    /// The delay before this repetition, from 1 on.
    pub(crate) fn delay(&self, repetition: u32) -> Duration {
        let exponent = i32::try_from(repetition.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.base_delay.as_secs_f64() * self.multiplier.max(1.0).powi(exponent);
        let max_delay = clamp_duration(self.max_delay);
        let delay = Duration::try_from_secs_f64(seconds).unwrap_or(max_delay).min(max_delay);
        if self.jitter { delay.mul_f64(0.5 + forge_core::random_fraction() / 2.0) } else { delay }
    }
}

/// The wait until the back-off of a token source is over.
pub(crate) fn until_over(back_off: Duration) -> Duration {
    if back_off.is_zero() { back_off } else { back_off.saturating_add(MAX_CLOCK_TICK) }
}

/// Race: the clock of a token source may tick in steps of up to 10 ms on Linux, and our timer does not. A request
/// at the exact end of the back-off may reach the source while its clock is still behind.
const MAX_CLOCK_TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Backoff = Backoff {
        base_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(5),
        multiplier: 2.0,
        jitter: false,
    };

    #[test]
    fn delays_grow_to_the_cap() {
        let delays: Vec<_> = (1..=6).map(|repetition| EXACT.delay(repetition).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn absurd_settings_stay_within_the_cap() {
        for multiplier in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
            for base_delay in [Duration::ZERO, Duration::MAX] {
                let absurd = Backoff { base_delay, multiplier, ..EXACT };
                assert!(absurd.delay(u32::MAX) <= EXACT.max_delay, "{absurd:?}");
            }
        }
        assert_eq!(Backoff { multiplier: f64::NAN, ..EXACT }.delay(3), EXACT.base_delay);
    }

    #[test]
    fn jitter_stays_within_the_upper_half() {
        let jittered = Backoff { jitter: true, ..EXACT };
        for _ in 0..1_000 {
            let delay = jittered.delay(1);
            assert!((250..=500).contains(&delay.as_millis()), "{delay:?}");
        }
    }
}
