use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fmt, io, process, thread};

/// Work that may block, on a thread of its own. It runs once at a time, however many callers wait for it.
///
/// The thread does not belong to a runtime. A runtime has a bounded number of threads for blocking work, and
/// waits for them when it shuts down. Work that never ends would occupy one of them, and the shutdown would not
/// end.
///
/// Callers that come while a round is under way share the next round. Race: the round under way may have read
/// before the change that made them call. The work must not panic.
pub(super) struct OffThread<T> {
    work: Box<dyn Fn() -> T + Send + Sync>,
    rounds: Mutex<Rounds<T>>,
}

struct Rounds<T> {
    /// The process whose thread is working; `None`: no thread is. A forked process gets a copy of this number,
    /// but not the thread.
    worker: Option<u32>,
    /// The round after the one under way, if a caller waits for it.
    next: Option<Arc<Round<T>>>,
}

/// One run of the work, and the callers that wait for its outcome.
struct Round<T> {
    progress: Mutex<Progress<T>>,
    ended: Condvar,
}

struct Progress<T> {
    outcome: Option<T>,
    /// The wakers of the callers that wait, by the number of each.
    wakers: HashMap<u64, Waker>,
    number: u64,
}

impl<T: Clone + Send + 'static> OffThread<T> {
    pub(super) fn new(work: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let rounds = Mutex::new(Rounds { worker: None, next: None });
        Self { work: Box::new(work), rounds }
    }

    /// The outcome of a round that begins after this call. Dropping the future does not affect the other callers.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(super) fn outcome(self: &Arc<Self>) -> io::Result<Outcome<T>> {
        Ok(Outcome { round: self.join()?, number: None })
    }

    /// As [`outcome`](Self::outcome), but blocks the calling thread. `None` if the round takes longer than
    /// `limit`.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(super) fn wait(self: &Arc<Self>, limit: Duration) -> io::Result<Option<T>> {
        let round = self.join()?;
        let progress = lock(&round.progress);
        let waited = round.ended.wait_timeout_while(progress, limit, |progress| progress.outcome.is_none());
        let (progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Ok(progress.outcome.clone())
    }

    fn join(self: &Arc<Self>) -> io::Result<Arc<Round<T>>> {
        let mut rounds = lock(&self.rounds);
        if rounds.worker == Some(process::id()) {
            // Race: the round under way may have read before the change that made the caller ask. Join the next
            // one.
            return Ok(Arc::clone(rounds.next.get_or_insert_default()));
        }
        let round = Arc::<Round<T>>::default();
        let (this, first) = (Arc::clone(self), Arc::clone(&round));
        // Order: spawn under the lock. The thread takes the lock after its first round, so it cannot reset
        // `worker` before this sets it.
        thread::Builder::new().name("forge-secret".to_owned()).spawn(move || this.run(first))?;
        *rounds = Rounds { worker: Some(process::id()), next: None };
        Ok(round)
    }

    fn run(&self, first: Arc<Round<T>>) {
        let mut next = Some(first);
        // Race: `join` may add a round until the loop takes the lock. Under the lock there is either a next
        // round, or `worker` becomes `None` and the next `join` starts a thread. So no caller waits for a thread
        // that has ended.
        while let Some(round) = next {
            // Skip a round for which nobody waits any more. While a round hangs, callers come and time out.
            if Arc::strong_count(&round) > 1 {
                round.end((self.work)());
            }
            let mut rounds = lock(&self.rounds);
            next = rounds.next.take();
            if next.is_none() {
                rounds.worker = None;
            }
        }
    }
}

impl<T> Round<T> {
    fn end(&self, outcome: T) {
        let mut progress = lock(&self.progress);
        progress.outcome = Some(outcome);
        let wakers = std::mem::take(&mut progress.wakers);
        // Order: release the lock first. A waker may poll the future at once on this thread, and `poll` takes the
        // same lock.
        drop(progress);
        self.ended.notify_all();
        wakers.into_values().for_each(Waker::wake);
    }
}

impl<T> Default for Round<T> {
    fn default() -> Self {
        let progress = Progress { outcome: None, wakers: HashMap::new(), number: 0 };
        Self { progress: Mutex::new(progress), ended: Condvar::new() }
    }
}

/// A future for the outcome of a round.
pub(super) struct Outcome<T> {
    round: Arc<Round<T>>,
    number: Option<u64>,
}

impl<T: Clone> Future for Outcome<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let waker = context.waker().clone();
        let round = Arc::clone(&self.round);
        let mut progress = lock(&round.progress);
        if let Some(outcome) = &progress.outcome {
            return Poll::Ready(outcome.clone());
        }
        let number = *self.number.get_or_insert_with(|| {
            progress.number += 1;
            progress.number
        });
        let replaced = progress.wakers.insert(number, waker);
        // Order: release the lock first. Dropping the last waker of a task drops the task, and maybe with it an
        // `Outcome`, whose `drop` takes the same lock.
        drop(progress);
        drop(replaced);
        Poll::Pending
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        // While the work hangs, callers come and go: without this their wakers would pile up.
        if let Some(number) = self.number {
            let waker = lock(&self.round.progress).wakers.remove(&number);
            // Order: the lock is released already, as in `poll`.
            drop(waker);
        }
    }
}

impl<T> fmt::Debug for OffThread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffThread").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Waker;

    use super::*;
    use crate::secret_source::tests::block_on;

    /// Work that reports its begin, and ends when the test sends it an outcome.
    struct Hanging {
        work: Arc<OffThread<u32>>,
        begun: mpsc::Receiver<()>,
        end: mpsc::Sender<u32>,
    }

    impl Hanging {
        fn new() -> Self {
            let (tell_begun, begun) = mpsc::channel();
            let (end, ended) = mpsc::channel();
            let ends = Mutex::new((tell_begun, ended));
            let work = OffThread::new(move || {
                let ends = lock(&ends);
                ends.0.send(()).unwrap();
                ends.1.recv().unwrap()
            });
            Self { work: Arc::new(work), begun, end }
        }

        fn asked(&self) -> Outcome<u32> {
            let mut outcome = self.work.outcome().unwrap();
            let is_pending =
                Pin::new(&mut outcome).poll(&mut Context::from_waker(Waker::noop())).is_pending();
            assert!(is_pending);
            outcome
        }
    }

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn work_that_hangs_has_one_thread_however_many_callers_wait() {
        let hanging = Hanging::new();
        let first = hanging.asked();
        hanging.begun.recv().unwrap();
        let others: Vec<_> = (0..100).map(|_| hanging.asked()).collect();
        assert_eq!(hanging.work.wait(SHORT).unwrap(), None);
        assert!(hanging.begun.try_recv().is_err(), "a second thread");
        drop(others);
        let last = hanging.asked();
        let next = lock(&hanging.work.rounds).next.clone().unwrap();
        assert_eq!(lock(&next.progress).wakers.len(), 1, "dropped callers leave no waker");
        drop(next);
        hanging.end.send(1).unwrap();
        assert_eq!(block_on(first), 1);
        hanging.end.send(2).unwrap();
        assert_eq!(block_on(last), 2, "the outcome of a round that began after the call");
        hanging.end.send(3).unwrap();
        assert_eq!(block_on(hanging.work.outcome().unwrap()), 3);
        assert_eq!(hanging.begun.try_iter().count(), 2);
    }

    #[test]
    fn a_round_that_nobody_waits_for_any_more_is_skipped() {
        let hanging = Hanging::new();
        let first = hanging.asked();
        hanging.begun.recv().unwrap();
        drop(hanging.asked());
        hanging.end.send(1).unwrap();
        assert_eq!(block_on(first), 1);
        hanging.end.send(2).unwrap();
        assert_eq!(block_on(hanging.work.outcome().unwrap()), 2);
        assert_eq!(hanging.begun.try_iter().count(), 1);
    }

    #[test]
    fn a_forked_process_has_a_thread_of_its_own() {
        let hanging = Hanging::new();
        // A forked child finds the parent's process number, and no thread.
        lock(&hanging.work.rounds).worker = Some(process::id() + 1);
        hanging.end.send(1).unwrap();
        assert_eq!(block_on(hanging.work.outcome().unwrap()), 1);
    }

    #[test]
    fn every_caller_gets_the_outcome_of_a_later_round() {
        let number = std::sync::atomic::AtomicU32::new(0);
        let work = OffThread::new(move || number.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        let work = Arc::new(work);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let before = block_on(work.outcome().unwrap());
                        assert!(
                            block_on(work.outcome().unwrap()) > before,
                            "the round began before the call"
                        );
                    }
                });
            }
        });
    }
}
