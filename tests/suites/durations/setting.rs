use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use requestforge::{ConfigError, HttpClientError};

use crate::extremes::{settled, watch};

/// Long enough for what begins at once to be under way.
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

/// How a setting takes these values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    /// All work.
    Any,
    /// Nothing is refused by this name.
    Positive(&'static str),
}

impl Setting {
    /// What was built with this value; `None` if it was rightly refused.
    pub(crate) fn built<T, E: Refusal>(self, case: &str, value: Duration, built: Result<T, E>) -> Option<T> {
        match (self, built) {
            (Self::Positive(field), Err(error)) if value.is_zero() => {
                let told = error.config_error().unwrap_or_else(|| panic!("{case}: {error:?}"));
                assert!(told.field() == field && told.to_string().contains("positive"), "{case}: {told}");
                None
            }
            (Self::Positive(_), Ok(_)) if value.is_zero() => panic!("{case}: nothing at all is accepted"),
            (_, built) => Some(built.unwrap_or_else(|error| panic!("{case}: {error:?}"))),
        }
    }
}

/// Uses something that waits for as long as it was told, if that is not short.
pub(crate) async fn used_for_a_while<T>(case: &str, usage: impl Future<Output = T>) -> Option<T> {
    watch();
    let outcome = tokio::time::timeout(SOON, usage).await.ok();
    settled(case).await;
    outcome
}
