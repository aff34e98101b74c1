//! Durations of many operations.

use std::time::Duration;

/// Durations to print: how long something took, many times.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let place = self.0.partition_point(|other| *other <= time);
        self.0.insert(place, time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time within which so many percent of all ended.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, high, longest] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "p50 {median:.1?}, p99 {high:.1?}, at most {longest:.1?}")
    }
}
