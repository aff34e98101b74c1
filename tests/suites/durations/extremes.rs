use std::fmt::Debug;
use std::future::Future;
use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use requestforge::{ConfigError, HttpClientError};

pub(crate) const LEAST: Duration = Duration::from_nanos(1);
pub(crate) const EXTREMES: [Duration; 3] = [Duration::ZERO, LEAST, Duration::MAX];

/// Longer than any case may take.
const EVER: Duration = Duration::from_secs(60);
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

/// Uses something, and gives its background tasks time. Nothing may panic, nor go on for ever.
pub(crate) async fn used<T>(case: &str, usage: impl Future<Output = T>) -> T {
    watch();
    let outcome = tokio::time::timeout(EVER, usage).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{case}: it goes on for ever"));
    settled(case).await;
    outcome
}

/// Uses something that waits for as long as it was told, if that is not short.
pub(crate) async fn used_for_a_while<T>(case: &str, usage: impl Future<Output = T>) -> Option<T> {
    watch();
    let outcome = tokio::time::timeout(SOON, usage).await.ok();
    settled(case).await;
    outcome
}

async fn settled(case: &str) {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(panics.is_empty(), "{case}: {panics:?}");
}

/// What has panicked, on whatever thread and in whatever task.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Those of the tests themselves are failures already.
            if !info.location().is_some_and(|location| location.file().contains("suites")) {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
            usual(info);
        }));
    });
}
