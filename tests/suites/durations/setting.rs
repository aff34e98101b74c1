use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use requestforge::{ConfigError, HttpClientError};

use crate::extremes::{check_for_panics, watch};

/// Long enough for a background task to begin.
const SOON: Duration = Duration::from_millis(200);

/// The error of a `build()`.
pub(crate) trait Refusal: Debug {
    fn config_error(&self) -> Option<&ConfigError>;
}

impl Refusal for ConfigError {
    fn config_error(&self) -> Option<&ConfigError> {
        Some(self)
    }
}

impl Refusal for HttpClientError {
    fn config_error(&self) -> Option<&ConfigError> {
        self.config_error()
    }
}

/// The values that a setting accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    /// Every value works.
    Any,
    /// `build()` refuses zero, and the error names this field.
    Positive(&'static str),
}

impl Setting {
    /// The result of a build with this value; `None` if the build was right to refuse it.
    pub(crate) fn built<T, E: Refusal>(self, case: &str, value: Duration, built: Result<T, E>) -> Option<T> {
        match (self, built) {
            (Self::Positive(field), Err(error)) if value.is_zero() => {
                let refusal = error.config_error().unwrap_or_else(|| panic!("{case}: {error:?}"));
                assert!(
                    refusal.field() == field && refusal.to_string().contains("positive"),
                    "{case}: {refusal}"
                );
                None
            }
            (Self::Positive(_), Ok(_)) if value.is_zero() => panic!("{case}: zero is accepted"),
            (_, built) => Some(built.unwrap_or_else(|error| panic!("{case}: {error:?}"))),
        }
    }
}

/// Awaits `usage` for a while; `None` if it does not end in that time.
pub(crate) async fn used_for_a_while<T>(case: &str, usage: impl Future<Output = T>) -> Option<T> {
    watch();
    let outcome = tokio::time::timeout(SOON, usage).await.ok();
    check_for_panics(case).await;
    outcome
}
