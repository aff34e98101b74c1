//! Tasks that ask for tokens all the time.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use requestforge::{AuthenticationError, TokenManager};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::times::Times;
use crate::world::World;

const TASKS: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);
/// A call may take so much longer, once, when the server that it asks is gone.
const ADDED_ONCE: Duration = Duration::from_millis(100);

pub(crate) struct Load {
    shared: Arc<SharedState>,
    tasks: JoinSet<()>,
}

struct SharedState {
    sample: Mutex<Sample>,
    is_over: AtomicBool,
}

/// The measurements.
pub(crate) struct Sample {
    times: Vec<Duration>,
    failures: Vec<String>,
    unknown: usize,
    /// The worst delay of a task's wake-up, whatever the task did.
    worst_slack: Duration,
}

impl Load {
    pub(crate) fn start(world: &World) -> Self {
        let shared =
            Arc::new(SharedState { sample: Mutex::new(Sample::new()), is_over: AtomicBool::new(false) });
        let processes = &world.processes;
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (shared, issuer) = (Arc::clone(&shared), Arc::clone(&world.issuer));
            let manager = processes[task % processes.len()].manager.clone();
            tasks.spawn(async move {
                while !shared.is_over() {
                    let (answer, took) = asked(&manager).await;
                    let is_known = answer.map(|token| issuer.issued(&token));
                    shared.sample().add(took, is_known);
                    let begun = Instant::now();
                    sleep(PAUSE).await;
                    shared.sample().record_lateness(begun.elapsed().saturating_sub(PAUSE));
                }
            });
        }
        Self { shared, tasks }
    }

    pub(crate) async fn end(mut self) -> Sample {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
        std::mem::replace(&mut *self.shared.sample(), Sample::new())
    }
}

async fn asked(manager: &TokenManager) -> (Result<String, AuthenticationError>, Duration) {
    let begun = Instant::now();
    let answer = manager.get_token().await;
    let took = begun.elapsed();
    (answer.map(|token| token.token().access_token().to_owned()), took)
}

impl SharedState {
    fn sample(&self) -> MutexGuard<'_, Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Sample {
    fn new() -> Self {
        Self { times: Vec::new(), failures: Vec::new(), unknown: 0, worst_slack: Duration::ZERO }
    }

    /// No call failed, and no call waited for longer than an outage may cost.
    pub(crate) fn check(&self) {
        assert!(self.failures.is_empty(), "{:?}", self.failures);
        assert_eq!(self.unknown, 0, "a token that was never issued");
        assert!(self.times.len() > 1_000, "{self}: that is no load");
        let allowed = ADDED_ONCE + Duration::from_millis(30) + self.worst_slack;
        assert!(self.times.iter().max() <= Some(&allowed), "{self}; allowed are {allowed:?}");
    }

    fn add(&mut self, took: Duration, is_known: Result<bool, AuthenticationError>) {
        self.times.push(took);
        match is_known {
            Ok(true) => {}
            Ok(false) => self.unknown += 1,
            Err(error) => self.failures.push(format!("{error:?}")),
        }
    }

    fn record_lateness(&mut self, by: Duration) {
        self.worst_slack = self.worst_slack.max(by);
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, slack) = (self.times.len(), self.worst_slack);
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let mut times = Times::new();
        for time in sorted {
            times.add(time);
        }
        write!(f, "{count} calls, {times}; the machine was late by {slack:.1?} at worst")
    }
}
