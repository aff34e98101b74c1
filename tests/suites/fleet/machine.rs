//! Whether the machine itself stood still: no fault of those who were late then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(1);
/// A thread that wants to run has to wait so long now and then on any machine.
const USUAL: Duration = Duration::from_millis(20);

/// A thread that wakes up every millisecond, and notes when it could not.
pub(crate) struct Machine {
    delays: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    pub(crate) fn watch() -> Self {
        let (delays, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (noted, stopped) = (Arc::clone(&delays), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let slept = Instant::now();
                thread::sleep(PAUSE);
                let delay = slept.elapsed().saturating_sub(PAUSE);
                if delay > USUAL {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), delay));
                }
            }
        });
        Self { delays, stop, thread: Some(thread) }
    }

    /// For how long in all it stood still since then, not counting what is usual.
    pub(crate) fn stood_still_since(&self, begin: Instant) -> Duration {
        let delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Figures to print: how long something took, of many.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let place = self.0.partition_point(|other| *other <= time);
        self.0.insert(place, time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many percent of all do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, high, longest] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "p50 {median:.1?}, p99 {high:.1?}, at most {longest:.1?}")
    }
}
