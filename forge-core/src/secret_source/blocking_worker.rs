use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{fmt, io, mem, process};

use futures_channel::oneshot;

/// Does work that may block on a separate thread, in one round at a time, however many callers wait.
///
/// The thread does not belong to a runtime. A runtime has a bounded number of threads for work that blocks, and waits for
/// them when it ends. So work that never ends would occupy one of them and keep the runtime from ending.
///
/// Callers that come during a round share the next round. Race: the current round may have read the file before the
/// change that made them call. The work must not panic.
pub(super) struct BlockingWorker<T> {
    work: Box<dyn Fn() -> T + Send + Sync>,
    queue: Mutex<Queue<T>>,
}

struct Queue<T> {
    /// The id of the process whose thread is working; `None`: no thread is. A forked process gets a copy of this number,
    /// but not the thread.
    worker: Option<u32>,
    /// The callers that the next round answers.
    waiting: Vec<oneshot::Sender<T>>,
}

impl<T: Clone + Send + 'static> BlockingWorker<T> {
    pub(super) fn new(work: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { work: Box::new(work), queue: Mutex::new(Queue { worker: None, waiting: Vec::new() }) }
    }

    /// The outcome of a round that begins after this call. Dropping the future does not affect the other callers.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(super) fn outcome(self: &Arc<Self>) -> io::Result<oneshot::Receiver<T>> {
        let (sender, outcome) = oneshot::channel();
        let mut queue = lock(&self.queue);
        if queue.worker != Some(process::id()) {
            // Order: spawn under the lock. The thread takes the lock before it looks for callers, so it finds this one.
            let this = Arc::clone(self);
            thread::Builder::new().name("forge-secret".to_owned()).spawn(move || this.run())?;
            queue.worker = Some(process::id());
            // After a fork the queue holds the parent's callers. Answering or dropping them would wake tasks whose
            // runtime has no threads in this process.
            mem::forget(mem::take(&mut queue.waiting));
        }
        if queue.waiting.len() == queue.waiting.capacity() {
            // While the work hangs, callers come and time out. Drop those that have gone, or the queue grows for ever.
            queue.waiting.retain(|caller| !caller.is_canceled());
        }
        queue.waiting.push(sender);
        Ok(outcome)
    }

    /// As [`outcome`](Self::outcome), but blocks the calling thread. `None` if the round takes longer than `limit`.
    pub(super) fn wait(self: &Arc<Self>, limit: Duration) -> io::Result<Option<T>> {
        let mut outcome = self.outcome()?;
        let (until, waker) = (Instant::now() + limit, Waker::from(Arc::new(UnparkWaker(thread::current()))));
        loop {
            if let Poll::Ready(outcome) = Pin::new(&mut outcome).poll(&mut Context::from_waker(&waker)) {
                return Ok(outcome.ok());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::park_timeout(left);
        }
    }

    fn run(&self) {
        while let Some(callers) = self.next_round() {
            let outcome = (self.work)();
            for caller in callers {
                // Fails if the caller has gone.
                let _ = caller.send(outcome.clone());
            }
        }
    }

    /// Takes the callers of the next round. `None`: no caller waits any more, so the thread ends.
    fn next_round(&self) -> Option<Vec<oneshot::Sender<T>>> {
        let mut queue = lock(&self.queue);
        let mut callers = mem::take(&mut queue.waiting);
        callers.retain(|caller| !caller.is_canceled());
        if callers.is_empty() {
            // Race: under the same lock. Otherwise a caller could join after the thread has looked, and wait for ever.
            queue.worker = None;
            return None;
        }
        Some(callers)
    }
}

struct UnparkWaker(Thread);

impl Wake for UnparkWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<T> fmt::Debug for BlockingWorker<T> {
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

    use super::*;
    use crate::secret_source::tests::block_on;

    /// Work that reports its beginning, and ends when the test gives it a result.
    struct HangingWork {
        work: Arc<BlockingWorker<u32>>,
        begun: mpsc::Receiver<()>,
        end: mpsc::Sender<u32>,
    }

    impl HangingWork {
        fn new() -> Self {
            let (tell_begun, begun) = mpsc::channel();
            let (end, ended) = mpsc::channel();
            let ends = Mutex::new((tell_begun, ended));
            let work = BlockingWorker::new(move || {
                let ends = lock(&ends);
                ends.0.send(()).unwrap();
                ends.1.recv().unwrap()
            });
            Self { work: Arc::new(work), begun, end }
        }

        fn asked(&self) -> oneshot::Receiver<u32> {
            let mut outcome = self.work.outcome().unwrap();
            let is_pending =
                Pin::new(&mut outcome).poll(&mut Context::from_waker(Waker::noop())).is_pending();
            assert!(is_pending);
            outcome
        }
    }

    const SHORT: Duration = Duration::from_millis(1);

    fn brought(outcome: oneshot::Receiver<u32>) -> u32 {
        block_on(outcome).unwrap()
    }

    #[test]
    fn work_that_hangs_has_one_thread_however_many_ask_for_it() {
        let hanging = HangingWork::new();
        let first = hanging.asked();
        hanging.begun.recv().unwrap();
        for _ in 0..1_000 {
            drop(hanging.asked());
        }
        assert!(lock(&hanging.work.queue).waiting.capacity() < 100, "those that have gone are forgotten");
        assert_eq!(hanging.work.wait(SHORT).unwrap(), None);
        assert!(hanging.begun.try_recv().is_err(), "a second thread");
        let last = [hanging.asked(), hanging.asked()];
        hanging.end.send(1).unwrap();
        assert_eq!(brought(first), 1);
        hanging.end.send(2).unwrap();
        assert_eq!(last.map(brought), [2, 2], "what was read after they asked");
        hanging.end.send(3).unwrap();
        assert_eq!(hanging.work.wait(Duration::from_secs(20)).unwrap(), Some(3));
        assert_eq!(hanging.begun.try_iter().count(), 2);
    }

    #[test]
    fn a_round_that_nobody_waits_for_any_more_is_left_out() {
        let hanging = HangingWork::new();
        let first = hanging.asked();
        hanging.begun.recv().unwrap();
        drop(hanging.asked());
        hanging.end.send(1).unwrap();
        assert_eq!(brought(first), 1);
        hanging.end.send(2).unwrap();
        assert_eq!(brought(hanging.work.outcome().unwrap()), 2);
        assert_eq!(hanging.begun.try_iter().count(), 1);
    }

    #[test]
    fn a_forked_process_has_a_thread_of_its_own() {
        let hanging = HangingWork::new();
        // Make the queue look as in a forked child: the parent's number and callers, and no thread.
        let (parents, mut outcome) = oneshot::channel();
        *lock(&hanging.work.queue) = Queue { worker: Some(process::id() + 1), waiting: vec![parents] };
        hanging.end.send(1).unwrap();
        assert_eq!(brought(hanging.work.outcome().unwrap()), 1);
        assert_eq!(outcome.try_recv(), Ok(None), "the parent's caller is left alone");
    }

    #[test]
    fn whoever_asks_gets_an_outcome() {
        let number = std::sync::atomic::AtomicU32::new(0);
        let work = BlockingWorker::new(move || number.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        let work = Arc::new(work);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let before = brought(work.outcome().unwrap());
                        let after = work.wait(Duration::from_secs(20)).unwrap();
                        assert!(after.unwrap() > before, "it began before it was asked for");
                    }
                });
            }
        });
    }
}
