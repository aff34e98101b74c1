//! Which durations a setting may have.

use std::time::Duration;

use crate::ConfigError;

/// The longest duration that a timer is given: 30 years, as good as for ever. `Instant + Duration::MAX` panics,
/// and not all libraries check that.
pub const MAX_DURATION: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The duration, or [`MAX_DURATION`] if that is shorter.
#[must_use]
pub fn clamp_duration(duration: Duration) -> Duration {
    duration.min(MAX_DURATION)
}

/// Checks a setting that makes no sense as zero: a time-out without any time, for example.
///
/// # Errors
///
/// The duration is zero. The error names the field.
pub fn check_positive(field: &'static str, duration: Duration) -> Result<(), ConfigError> {
    if duration.is_zero() { Err(ConfigError::new(field, "a positive duration")) } else { Ok(()) }
}
