//! The runtime functions that the manager needs. `tests/interleavings` compiles the manager over another
//! module with the same functions, in which shuttle chooses the task that runs next.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;

use forge_core::clamp_duration;
use tokio::runtime::Handle;
use tracing::Instrument;

/// A lock that is never held across an await.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is a runtime to spawn on and to wait with.
pub(crate) fn is_running() -> bool {
    // Inside a task, `try_id` answers from task-local state; `Handle::try_current` would clone a shared `Arc`.
    tokio::task::try_id().is_some() || Handle::try_current().is_ok()
}

/// There is no runtime to spawn on.
#[derive(Debug)]
pub(crate) struct NoRuntime;

/// Starts a task that goes on when its callers go away.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Result<(), NoRuntime> {
    let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
    // The logs of a flight belong to the span of the caller that began it.
    runtime.spawn(task.in_current_span());
    Ok(())
}

/// A number from 0 to 1, for jitter.
pub(crate) fn random() -> f64 {
    forge_core::random_fraction()
}

/// A moment after which a wait ends.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(tokio::time::Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        let now = tokio::time::Instant::now();
        Self(now + clamp_duration(limit))
    }

    pub(crate) fn has_passed(self) -> bool {
        tokio::time::Instant::now() >= self.0
    }

    /// Sleeps, unless that would end after the deadline. Returns whether it slept.
    pub(crate) async fn sleep(self, duration: Duration) -> bool {
        let wake = tokio::time::Instant::now().checked_add(duration);
        let Some(wake) = wake.filter(|wake| *wake < self.0) else { return false };
        tokio::time::sleep_until(wake).await;
        true
    }

    /// The future's output, or an error when the deadline came first. Not a future of our own around
    /// another one: that would have room for both.
    pub(crate) fn bound<F: Future>(self, future: F) -> tokio::time::Timeout<F> {
        tokio::time::timeout_at(self.0, future)
    }
}

thread_local! {
    /// The deadline of the flight that this thread is polling.
    static FLIGHT_ENDS: Cell<Option<Deadline>> = const { Cell::new(None) };
}

/// How long the flight that polls this has left; `None`: no flight polls this. A provider that repeats a call ends
/// within it, so that callers get the provider's error and not the flight's time-out.
pub(crate) fn time_left() -> Option<Duration> {
    let Deadline(ends) = FLIGHT_ENDS.with(Cell::get)?;
    Some(ends.saturating_duration_since(tokio::time::Instant::now()))
}

/// Lets what the future polls see the deadline of its flight.
pub(crate) async fn with_flight_deadline<F: Future>(deadline: Deadline, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _restore = RestoreGuard(FLIGHT_ENDS.with(|ends| ends.replace(Some(deadline))));
        future.as_mut().poll(context)
    })
    .await
}

/// Puts back what was there before, also when the future panics.
struct RestoreGuard(Option<Deadline>);

impl Drop for RestoreGuard {
    fn drop(&mut self) {
        FLIGHT_ENDS.with(|ends| ends.set(self.0));
    }
}

/// Runs a unit test of what has locks in it: under shuttle, locks exist within its tests only.
#[cfg(test)]
pub(crate) fn run_test(test: fn()) {
    test();
}
