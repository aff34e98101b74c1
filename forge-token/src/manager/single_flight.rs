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
    /// When it should have ended by itself.
    deadline: Deadline,
    /// What it brought; `None`: it was lost, with its runtime. Thousands may wait for it: whoever is told
    /// only reads.
    outcome: SetOnce<Option<T>>,
    /// Set when nobody joins it any more.
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

    /// A ticket for the flight under way. If there is none, `begin` starts one for this goal that must land,
    /// by itself within `limit`.
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
        // Not under the lock: a runtime that is shutting down drops what it is given at once, and
        // with it the landing, which locks.
        begin(FlightPublisher { single_flight: Arc::clone(self), flight: Arc::clone(&flight) })?;
        Ok(Waiter { flight, is_first: true })
    }

    /// A ticket for the flight under way, if there is one.
    pub(crate) fn under_way(&self) -> Option<Waiter<T>> {
        let flight = self.under_way.lock().clone()?;
        Some(Waiter { flight, is_first: false })
    }

    /// Makes sure that nobody joins the flight under way from now on and that it publishes nothing,
    /// and in the same step does `also`.
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

    /// As [`detach`](Self::detach), for this flight only, and only if it is overdue: a caller may have
    /// spent its own time before it joined.
    pub(crate) fn abandon(&self, waiter: &Waiter<T>) {
        if waiter.flight.deadline.has_passed() && self.end(&waiter.flight, || ()) {
            waiter.flight.detach();
        }
    }

    fn is_current(under_way: Option<&Arc<Flight<T>>>, flight: &Arc<Flight<T>>) -> bool {
        under_way.is_some_and(|current| Arc::ptr_eq(current, flight))
    }

    /// If this flight is under way, ends that, and in the same step does `also`. Says whether it was.
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
        // Once is enough, whoever was first.
        let _ = self.detached.set(());
    }
}

/// A caller's place: all that ties it to the flight. Dropping it disturbs nobody.
pub(crate) struct Waiter<T> {
    flight: Arc<Flight<T>>,
    is_first: bool,
}

impl<T> Waiter<T> {
    /// Whether the flight was begun for this ticket.
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

    /// What the flight brought; `None` if it was lost, with its runtime.
    pub(crate) async fn outcome(&self) -> Option<&T> {
        self.flight.outcome.wait().await.as_ref()
    }
}

/// The flight's own end. Dropped without landing, it tells those who wait that it was lost.
pub(crate) struct FlightPublisher<T> {
    single_flight: Arc<SingleFlight<T>>,
    flight: Arc<Flight<T>>,
}

impl<T> FlightPublisher<T> {
    /// Records that the provider is about to be called.
    pub(crate) fn mark_provider_called(&self) {
        self.flight.has_called_provider.store(true, Ordering::SeqCst);
    }

    /// When this is not the flight any more that new callers join, though it has not landed.
    pub(crate) async fn detached(&self) {
        self.flight.detached.wait().await;
    }

    /// Whether this still is the flight that new callers join.
    pub(crate) fn is_current(&self) -> bool {
        SingleFlight::is_current(self.single_flight.under_way.lock().as_ref(), &self.flight)
    }

    /// Does something in one step with making sure that this still is the flight that new callers join.
    pub(crate) fn while_current(&self, publish: impl FnOnce()) {
        let under_way = self.single_flight.under_way.lock();
        if SingleFlight::is_current(under_way.as_ref(), &self.flight) {
            publish();
        }
    }

    /// Tells the result to all who wait. If the flight was not detached, `publish` runs first, in the
    /// same step in which the flight ends: who comes later finds what was published.
    pub(crate) fn finish(self, result: T, publish: impl FnOnce(&T)) {
        self.single_flight.end(&self.flight, || publish(&result));
        let _ = self.flight.outcome.set(Some(result));
    }
}

impl<T> Drop for FlightPublisher<T> {
    fn drop(&mut self) {
        self.single_flight.end(&self.flight, || ());
        // Refused if it has landed.
        let _ = self.flight.outcome.set(None);
    }
}
