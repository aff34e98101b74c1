//! Whether the machine itself stood still: no fault of those who were late then.

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
/// In all within each [`WINDOW`], a thread that wants to run has to wait for so long now and then on any machine.
/// One with too much else to do lets it wait often, and never for long.
const USUAL: Duration = Duration::from_millis(20);
const WINDOW: Duration = Duration::from_millis(50);
/// How often a case is tried on a machine that stands still again and again.
const ATTEMPTS: usize = 4;

/// A thread that wakes up every millisecond, and notes when it could not.
#[derive(Debug)]
pub struct Machine {
    delays: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    /// Begins to watch, until this is dropped.
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

    /// For how long in all it stood still since then, not counting what is usual.
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

/// Runs a case whose deadlines are real. If it fails, and the machine stood still meanwhile, the case begins
/// anew; a failure that nothing excuses, or that comes each time, stands.
///
/// # Panics
///
/// When the case does.
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

/// In the task of the caller, so that what the case borrows need not be sent.
async fn caught<F: Future<Output = ()>>(mut case: Pin<Box<F>>) -> Result<(), Box<dyn Any + Send>> {
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
