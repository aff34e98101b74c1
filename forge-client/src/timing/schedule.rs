use std::time::Duration;

use super::Backoff;

/// How often a strategy repeats something at most, and after which delays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepeatSchedule<D> {
    pub(crate) max_retries: u32,
    pub(crate) delays: D,
}

/// The delays of a [`RepeatSchedule`].
pub(crate) trait Delays {
    /// The delay before this repetition, from 1 on.
    fn delay(&self, repetition: u32) -> Duration;
}

impl<D: Delays> RepeatSchedule<D> {
    /// The delay before this repetition, from 1 on; `None` if it would be one too many.
    pub(crate) fn delay_before(&self, repetition: u32) -> Option<Duration> {
        (repetition <= self.max_retries).then(|| self.delays.delay(repetition))
    }
}

/// Each delay is the same.
impl Delays for Duration {
    fn delay(&self, _repetition: u32) -> Duration {
        *self
    }
}

impl Delays for Backoff {
    fn delay(&self, repetition: u32) -> Duration {
        Backoff::delay(self, repetition)
    }
}

/// Setters of a strategy that waits equally long before each repetition. The arguments are the defaults, as the
/// documentation names them.
macro_rules! fixed_delay_setters {
    ($max_retries:literal, $delay:literal) => {
        #[doc = concat!("How often a request is sent again at most. Default: ", $max_retries, ".")]
        #[must_use]
        pub fn max_retries(mut self, retries: u32) -> Self {
            self.schedule.max_retries = retries;
            self
        }

        #[doc = concat!("How long to wait before each repetition. Default: ", $delay, ".")]
        #[must_use]
        pub fn delay(mut self, delay: ::std::time::Duration) -> Self {
            self.schedule.delays = delay;
            self
        }
    };
}

/// Setters of a strategy whose delays grow. The arguments are the defaults, as the documentation names them.
macro_rules! backoff_setters {
    ($max_retries:literal, $base_delay:literal, $max_delay:literal) => {
        #[doc = concat!("How often a request is sent again at most. Default: ", $max_retries, ".")]
        #[must_use]
        pub fn max_retries(mut self, retries: u32) -> Self {
            self.schedule.max_retries = retries;
            self
        }

        #[doc = concat!("The first delay. Default: ", $base_delay, ".")]
        #[must_use]
        pub fn base_delay(mut self, delay: ::std::time::Duration) -> Self {
            self.schedule.delays.base_delay = delay;
            self
        }

        #[doc = concat!("The longest delay. Default: ", $max_delay, ".")]
        #[must_use]
        pub fn max_delay(mut self, delay: ::std::time::Duration) -> Self {
            self.schedule.delays.max_delay = delay;
            self
        }

        /// The factor by which each delay grows. Default: 2. A factor below 1, or one that is not a number, counts
        /// as 1.
        #[must_use]
        pub fn multiplier(mut self, multiplier: f64) -> Self {
            self.schedule.delays.multiplier = multiplier;
            self
        }

        /// Whether the client draws each delay at random from its upper half. So clients that failed together do
        /// not come back together. Default: yes.
        #[must_use]
        pub fn jitter(mut self, jitter: bool) -> Self {
            self.schedule.delays.jitter = jitter;
            self
        }
    };
}

pub(crate) use {backoff_setters, fixed_delay_setters};
