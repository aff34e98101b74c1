use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::SetOnce;

use super::goal::RenewalGoal;
use crate::rt::{Deadline, Mutex};

/// The flight under way, if any. One manager has one key, so one flight at a time is enough.
pub(crate) struct SingleFlight<T> {
    under_way: Mutex<Option<Arc<Flight<T>>>>,
}

struct Flight<T> {
    /// When the flight should have ended by its own time-outs.
    deadline: Deadline,
    /// The outcome; `None`: the flight was lost with its runtime. Thousands of callers may wait for it, and they only
    /// read it.
    outcome: SetOnce<Option<T>>,
    /// Set when the flight is detached: new callers do not join it.
    detached: SetOnce<()>,
    /// Whether the flight was begun in the background, without a waiting caller.
    is_background: bool,
    /// Set before the provider is called, so that `false` proves to a caller that the call comes after it
    /// asked.
    has_called_provider: AtomicBool,
}

impl<T> SingleFlight<T> {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::new(None) }
    }

    /// Joins the flight under way. If there is none, `begin` starts one for this goal. It must end within `limit` by its
    /// own time-outs.
    pub(crate) fn join<E>(
        self: &Arc<Self>,
        goal: RenewalGoal,
        limit: Duration,
        begin: impl FnOnce(FlightPublisher<T>) -> Result<(), E>,
    ) -> Result<Waiter<T>, E> {
        let flight = {
            let mut under_way = self.under_way.lock();
            if let Some(flight) = &*under_way {
                return Ok(Waiter { flight: Arc::clone(flight), is_first: false });
            }
            let deadline = Deadline::after(limit);
            let flight = Arc::new(Flight {
                deadline,
                outcome: SetOnce::new(),
                detached: SetOnce::new(),
                is_background: goal.is_in_background(),
                has_called_provider: AtomicBool::new(false),
            });
            Arc::clone(under_way.insert(flight))
        };
        // Deadlock: not under the lock. A runtime that is shutting down drops the task at once, and the drop of its
        // publisher takes the lock.
        begin(FlightPublisher { single_flight: Arc::clone(self), flight: Arc::clone(&flight) })?;
        Ok(Waiter { flight, is_first: true })
    }

    /// Joins the flight under way, if there is one.
    pub(crate) fn under_way(&self) -> Option<Waiter<T>> {
        let flight = self.under_way.lock().clone()?;
        Some(Waiter { flight, is_first: false })
    }

    /// Detaches the flight under way: new callers do not join it, and it publishes nothing. Calls `also` in the same
    /// step.
    pub(crate) fn detach(&self, also: impl FnOnce()) {
        let detached = {
            let mut under_way = self.under_way.lock();
            also();
            under_way.take()
        };
        if let Some(flight) = detached {
            flight.detach();
        }
    }

    /// As [`detach`](Self::detach), for this flight only, and only if it is overdue: a caller whose time is over may
    /// have joined late.
    pub(crate) fn abandon(&self, waiter: &Waiter<T>) {
        if waiter.flight.deadline.has_passed() && self.end(&waiter.flight, || ()) {
            waiter.flight.detach();
        }
    }

    fn is_current(under_way: Option<&Arc<Flight<T>>>, flight: &Arc<Flight<T>>) -> bool {
        under_way.is_some_and(|current| Arc::ptr_eq(current, flight))
    }

    /// If this flight is under way, ends that, and calls `also` in the same step. Returns whether it was under way.
    fn end(&self, flight: &Arc<Flight<T>>, also: impl FnOnce()) -> bool {
        let mut under_way = self.under_way.lock();
        let is_current = Self::is_current(under_way.as_ref(), flight);
        if is_current {
            also();
            *under_way = None;
        }
        is_current
    }
}

impl<T> Flight<T> {
    fn detach(&self) {
        // An error says that another thread has detached the flight before.
        let _ = self.detached.set(());
    }
}

/// A caller that has joined a flight. Dropping it does not affect the flight.
pub(crate) struct Waiter<T> {
    flight: Arc<Flight<T>>,
    is_first: bool,
}

impl<T> Waiter<T> {
    /// Whether the flight was begun for this caller.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether the flight was begun in the background. A caller that joined it must not take its failure for
    /// its own: a background flight may end without trying the full grant.
    pub(crate) fn is_background(&self) -> bool {
        self.flight.is_background
    }

    /// Whether the flight has called the provider before now. The token of such a flight may lack rights that
    /// were granted between its call and now.
    pub(crate) fn has_called_provider(&self) -> bool {
        self.flight.has_called_provider.load(Ordering::SeqCst)
    }

    /// Waits for the outcome; `None` if the flight was lost with its runtime.
    pub(crate) async fn outcome(&self) -> Option<&T> {
        self.flight.outcome.wait().await.as_ref()
    }
}

/// Passes the outcome of a flight to its callers. If it is dropped before, they learn that the flight was lost.
pub(crate) struct FlightPublisher<T> {
    single_flight: Arc<SingleFlight<T>>,
    flight: Arc<Flight<T>>,
}

impl<T> FlightPublisher<T> {
    /// Records that the provider is about to be called.
    pub(crate) fn mark_provider_called(&self) {
        self.flight.has_called_provider.store(true, Ordering::SeqCst);
    }

    /// Waits until the flight is detached.
    pub(crate) async fn detached(&self) {
        self.flight.detached.wait().await;
    }

    /// Whether this still is the flight that new callers join.
    pub(crate) fn is_current(&self) -> bool {
        SingleFlight::is_current(self.single_flight.under_way.lock().as_ref(), &self.flight)
    }

    /// Calls `publish` if new callers still join this flight. No invalidation comes in between.
    pub(crate) fn while_current(&self, publish: impl FnOnce()) {
        let under_way = self.single_flight.under_way.lock();
        if SingleFlight::is_current(under_way.as_ref(), &self.flight) {
            publish();
        }
    }

    /// Ends the flight. Order: unless it was detached, `publish` runs in the same step in which the flight ends, and
    /// before callers get the result. So a caller either joins the flight or finds its token in the slot.
    pub(crate) fn finish(self, result: T, publish: impl FnOnce(&T)) {
        self.single_flight.end(&self.flight, || publish(&result));
        let _ = self.flight.outcome.set(Some(result));
    }
}

impl<T> Drop for FlightPublisher<T> {
    fn drop(&mut self) {
        self.single_flight.end(&self.flight, || ());
        // An error says that the flight has published its outcome.
        let _ = self.flight.outcome.set(None);
    }
}
