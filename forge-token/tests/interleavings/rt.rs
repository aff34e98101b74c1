//! Stands in for `src/rt.rs`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn is_running() -> bool {
    true
}

#[derive(Debug)]
pub(crate) struct NoRuntime;

thread_local! {
    // All tasks of one exploration share a thread, and explorations may run side by side.
    static LOSE_NEXT: AtomicBool = const { AtomicBool::new(false) };
}

/// The next task's runtime ends before the task does.
pub(crate) fn lose_next_task() {
    LOSE_NEXT.with(|lose| lose.store(true, Ordering::Relaxed));
}

#[expect(clippy::unnecessary_wraps, reason = "the signature is that of the real one")]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Result<(), NoRuntime> {
    if LOSE_NEXT.with(|lose| lose.swap(false, Ordering::Relaxed)) {
        let polls_left = thread_rng().gen_range(0..3);
        shuttle::future::spawn(drop_after(polls_left, task));
    } else {
        shuttle::future::spawn(task);
    }
    Ok(())
}

async fn drop_after(mut polls: u32, task: impl Future<Output = ()>) {
    let mut task = pin!(task);
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        task.as_mut().poll(context)
    })
    .await;
}

pub(crate) fn random() -> f64 {
    thread_rng().gen_range(0.0..1.0)
}

/// The deadline passed before the future was ready.
#[derive(Debug)]
pub(crate) struct TooLate;

/// Here nothing takes too long.
#[derive(Clone, Copy)]
pub(crate) struct Deadline;

impl Deadline {
    pub(crate) fn after(_limit: Duration) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the signature is that of the real one")]
    pub(crate) fn has_passed(self) -> bool {
        false
    }

    pub(crate) async fn sleep(self, _duration: Duration) -> bool {
        shuttle::future::yield_now().await;
        true
    }

    pub(crate) async fn bound<F: Future>(self, future: F) -> Result<F::Output, TooLate> {
        Ok(future.await)
    }
}

pub(crate) fn run_test(test: fn()) {
    shuttle::check_random(test, 1);
}

pub(crate) async fn with_flight_deadline<F: Future>(_deadline: Deadline, future: F) -> F::Output {
    future.await
}

/// Nothing takes too long here.
pub(crate) fn time_left() -> Option<Duration> {
    None
}
