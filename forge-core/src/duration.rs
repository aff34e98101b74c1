//! The limits of durations in settings.

use std::time::Duration;

use crate::ConfigError;

/// The maximum duration that a timer gets: 30 years, longer than any process runs. `Instant + Duration::MAX` panics, and
/// not all libraries check for that.
pub const MAX_DURATION: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The shorter one of this duration and [`MAX_DURATION`].
#[must_use]
pub fn clamp_duration(duration: Duration) -> Duration {
    duration.min(MAX_DURATION)
}

/// Checks a setting that must not be zero, such as a time-out.
///
/// # Errors
///
/// The duration is zero. The error names the field.
pub fn check_positive(field: &'static str, duration: Duration) -> Result<(), ConfigError> {
    if duration.is_zero() { Err(ConfigError::new(field, "a positive duration")) } else { Ok(()) }
}
