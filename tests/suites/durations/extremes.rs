use std::future::Future;
use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

pub(crate) const LEAST: Duration = Duration::from_nanos(1);
pub(crate) const EXTREMES: [Duration; 3] = [Duration::ZERO, LEAST, Duration::MAX];

/// A limit that no case reaches, unless it never ends.
const MAX_CASE: Duration = Duration::from_secs(60);

/// Awaits `usage`, and gives its background tasks some time. Fails if anything panics or does not end.
pub(crate) async fn used<T>(case: &str, usage: impl Future<Output = T>) -> T {
    watch();
    let outcome = tokio::time::timeout(MAX_CASE, usage).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{case}: it does not end"));
    check_for_panics(case).await;
    outcome
}

pub(crate) async fn check_for_panics(case: &str) {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(panics.is_empty(), "{case}: {panics:?}");
}

/// The panics outside of the tests themselves, on any thread and in any task.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A panic of a test fails that test already.
            if !info.location().is_some_and(|location| location.file().contains("suites")) {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
            usual(info);
        }));
    });
}
