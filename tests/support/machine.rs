//! Tells whether the machine itself stood still. Late tasks are no fault of the code then.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::server::lock;

const PAUSE: Duration = Duration::from_millis(1);
/// On any machine a thread that wants to run waits for so long now and then, in total within each
/// [`WINDOW`]. A busy machine lets it wait often, and never for long.
const USUAL: Duration = Duration::from_millis(20);
const WINDOW: Duration = Duration::from_millis(50);
/// The number of attempts at a case on a machine that stands still again and again.
const ATTEMPTS: usize = 4;

/// A thread that wakes up every millisecond, and records when it could not.
#[derive(Debug)]
pub struct Machine {
    delays: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    /// Begins to watch, until this value is dropped.
    pub fn watch() -> Self {
        let (delays, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (noted, stopped) = (Arc::clone(&delays), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (mut window, mut in_all) = (Instant::now(), Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let slept = Instant::now();
                thread::sleep(PAUSE);
                in_all += slept.elapsed().saturating_sub(PAUSE);
                if in_all > USUAL {
                    lock(&noted).push((Instant::now(), in_all));
                } else if window.elapsed() < WINDOW {
                    continue;
                }
                (window, in_all) = (Instant::now(), Duration::ZERO);
            }
        });
        Self { delays, stop, thread: Some(thread) }
    }

    /// The total time for which the machine stood still since then, without the usual waits.
    pub fn stood_still_since(&self, begin: Instant) -> Duration {
        let delays = lock(&self.delays);
        delays.iter().rev().take_while(|(at, _)| *at >= begin).map(|(_, delay)| *delay).sum()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs a case with real deadlines. If it fails and the machine stood still meanwhile, the case begins
/// again. A failure without that excuse, or in each attempt, is final.
///
/// # Panics
///
/// If the case panics.
pub async fn undisturbed<F: Future<Output = ()>>(case: impl Fn() -> F) {
    let machine = Machine::watch();
    undisturbed_on(|begun| machine.stood_still_since(begun), case).await;
}

async fn undisturbed_on<F: Future<Output = ()>>(
    stood_still_since: impl Fn(Instant) -> Duration,
    case: impl Fn() -> F,
) {
    for attempt in 1.. {
        let begun = Instant::now();
        let Err(panic) = caught(Box::pin(case())).await else { return };
        let stood_still = stood_still_since(begun);
        if stood_still.is_zero() || attempt == ATTEMPTS {
            resume_unwind(panic);
        }
        println!("once more, since the machine stood still for {stood_still:.1?}");
    }
}

/// Runs in the task of the caller, so that the data that the case borrows need not be `Send`.
async fn caught<F: Future<Output = ()>>(mut case: Pin<Box<F>>) -> Result<(), Box<dyn Any + Send>> {
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
