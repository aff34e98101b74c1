use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{Clock, ConfigError, SystemClock, check_positive};

use super::announcer::{Announcer, Listener};
use super::circuit::Rules;
use super::origins::Origins;
use super::window::FailureRate;
use super::{CircuitBreaker, CircuitTransition, SharedState};

/// Collects the settings of a [`CircuitBreaker`].
#[must_use]
pub struct CircuitBreakerBuilder {
    rules: Rules,
    clock: Arc<dyn Clock>,
    listener: Option<Listener>,
}

impl CircuitBreakerBuilder {
    /// How many failures in a row open a circuit. Default: 5.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.rules.failure_threshold = failures;
        self
    }

    /// Opens a circuit also when this share of the calls within the window has failed (0.5: half of them), if there
    /// were at least `minimum_calls`. Default: off.
    ///
    /// The window moves in steps of a tenth of its length.
    pub fn failure_rate(mut self, rate: f64, minimum_calls: u32, window: Duration) -> Self {
        self.rules.failure_rate = Some(FailureRate { rate, minimum_calls, window });
        self
    }

    /// How long a circuit stays open. Default: 30 s.
    pub fn open_for(mut self, duration: Duration) -> Self {
        self.rules.open_for = duration;
        self
    }

    /// How many probes may be under way while a circuit is half-open, and how many successes close it.
    /// Default: 3.
    pub fn half_open_probes(mut self, probes: u32) -> Self {
        self.rules.half_open_probes = probes;
        self
    }

    /// Calls this listener at each transition, one after the other. The calls run on the thread of a request, so the
    /// listener should be quick. It may use the breaker. A panic in the listener reaches the caller of that request.
    pub fn on_transition(mut self, listener: impl Fn(&CircuitTransition) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// The clock by which circuits stay open. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The breaker.
    ///
    /// # Errors
    ///
    /// Names the invalid setting.
    pub fn build(self) -> Result<CircuitBreaker, ConfigError> {
        let rules = &self.rules;
        let refuse = |field, expected| Err(ConfigError::new(field, expected));
        if rules.failure_threshold == 0 {
            return refuse("failure_threshold", "at least one failure");
        }
        if let Some(FailureRate { rate, minimum_calls, window }) = rules.failure_rate {
            if !(rate > 0.0 && rate <= 1.0) {
                return refuse("failure_rate", "a share above 0, and at most 1");
            }
            if minimum_calls == 0 || window.is_zero() {
                return refuse("failure_rate", "at least one call, within a positive duration");
            }
        }
        check_positive("open_for", rules.open_for)?;
        if rules.half_open_probes == 0 {
            return refuse("half_open_probes", "at least one probe");
        }
        Ok(self.finish())
    }

    pub(super) fn finish(self) -> CircuitBreaker {
        CircuitBreaker(Arc::new(SharedState {
            rules: self.rules,
            clock: self.clock,
            origins: Origins::default(),
            announcer: Announcer::new(self.listener),
        }))
    }
}

impl Default for CircuitBreakerBuilder {
    fn default() -> Self {
        let rules = Rules {
            failure_threshold: 5,
            failure_rate: None,
            open_for: Duration::from_secs(30),
            half_open_probes: 3,
        };
        Self { rules, clock: Arc::new(SystemClock), listener: None }
    }
}

impl fmt::Debug for CircuitBreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerBuilder").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let minute = Duration::from_secs(60);
        let new = CircuitBreaker::builder;
        for (builder, field) in [
            (new().failure_threshold(0), "failure_threshold"),
            (new().failure_rate(0.0, 1, minute), "failure_rate"),
            (new().failure_rate(1.1, 1, minute), "failure_rate"),
            (new().failure_rate(f64::NAN, 1, minute), "failure_rate"),
            (new().failure_rate(0.5, 0, minute), "failure_rate"),
            (new().failure_rate(0.5, 1, Duration::ZERO), "failure_rate"),
            (new().open_for(Duration::ZERO), "open_for"),
            (new().half_open_probes(0), "half_open_probes"),
        ] {
            assert_eq!(builder.build().unwrap_err().field(), field);
        }
        assert!(new().failure_rate(1.0, 1, Duration::from_nanos(1)).open_for(Duration::MAX).build().is_ok());
    }
}
