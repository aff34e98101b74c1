use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::SetOnce;

use super::goal::Goal;
use crate::rt::{Deadline, Mutex};

/// The flight under way, if any. One manager has one key, so one flight at a time is enough.
pub(crate) struct Flights<T> {
    under_way: Mutex<Option<Arc<Flight<T>>>>,
}

struct Flight<T> {
    /// When it should have ended by itself.
    deadline: Deadline,
    /// What it brought; `None`: it was lost, with its runtime. Thousands may wait for it: whoever is told
    /// only reads.
    landed: SetOnce<Option<T>>,
    /// Set when nobody joins it any more.
    detached: SetOnce<()>,
    /// Whether the flight was begun in the background, without a waiting caller.
    is_background: bool,
    /// Set before the provider is called, so that `false` proves to a caller that the call comes after it
    /// asked.
    has_called: AtomicBool,
}

impl<T> Flights<T> {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::new(None) }
    }

    /// A ticket for the flight under way. If there is none, `begin` starts one for this goal that must land,
    /// by itself within `limit`.
    pub(crate) fn join<E>(
        self: &Arc<Self>,
        goal: Goal,
        limit: Duration,
        begin: impl FnOnce(Landing<T>) -> Result<(), E>,
    ) -> Result<Ticket<T>, E> {
        let flight = {
            let mut under_way = self.under_way.lock();
            if let Some(flight) = &*under_way {
                return Ok(Ticket { flight: Arc::clone(flight), is_first: false });
            }
            let deadline = Deadline::after(limit);
            let flight = Arc::new(Flight {
                deadline,
                landed: SetOnce::new(),
                detached: SetOnce::new(),
                is_background: goal.is_in_background(),
                has_called: AtomicBool::new(false),
            });
            Arc::clone(under_way.insert(flight))
        };
        // Not under the lock: a runtime that is shutting down drops what it is given at once, and
        // with it the landing, which locks.
        begin(Landing { flights: Arc::clone(self), flight: Arc::clone(&flight) })?;
        Ok(Ticket { flight, is_first: true })
    }

    /// A ticket for the flight under way, if there is one.
    pub(crate) fn under_way(&self) -> Option<Ticket<T>> {
        let flight = self.under_way.lock().clone()?;
        Some(Ticket { flight, is_first: false })
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
    pub(crate) fn abandon(&self, ticket: &Ticket<T>) {
        if ticket.flight.deadline.has_passed() && self.end(&ticket.flight, || ()) {
            ticket.flight.detach();
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
pub(crate) struct Ticket<T> {
    flight: Arc<Flight<T>>,
    is_first: bool,
}

impl<T> Ticket<T> {
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
    pub(crate) fn has_called(&self) -> bool {
        self.flight.has_called.load(Ordering::SeqCst)
    }

    /// What the flight brought; `None` if it was lost, with its runtime.
    pub(crate) async fn landing(&self) -> Option<&T> {
        self.flight.landed.wait().await.as_ref()
    }
}

/// The flight's own end. Dropped without landing, it tells those who wait that it was lost.
pub(crate) struct Landing<T> {
    flights: Arc<Flights<T>>,
    flight: Arc<Flight<T>>,
}

impl<T> Landing<T> {
    /// Records that the provider is about to be called.
    pub(crate) fn begin_call(&self) {
        self.flight.has_called.store(true, Ordering::SeqCst);
    }

    /// When this is not the flight any more that new callers join, though it has not landed.
    pub(crate) async fn detached(&self) {
        self.flight.detached.wait().await;
    }

    /// Whether this still is the flight that new callers join.
    pub(crate) fn is_current(&self) -> bool {
        Flights::is_current(self.flights.under_way.lock().as_ref(), &self.flight)
    }

    /// Does something in one step with making sure that this still is the flight that new callers join.
    pub(crate) fn while_current(&self, publish: impl FnOnce()) {
        let under_way = self.flights.under_way.lock();
        if Flights::is_current(under_way.as_ref(), &self.flight) {
            publish();
        }
    }

    /// Tells the result to all who wait. If the flight was not detached, `publish` runs first, in the
    /// same step in which the flight ends: who comes later finds what was published.
    pub(crate) fn land(self, result: T, publish: impl FnOnce(&T)) {
        self.flights.end(&self.flight, || publish(&result));
        let _ = self.flight.landed.set(Some(result));
    }
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.flights.end(&self.flight, || ());
        // Refused if it has landed.
        let _ = self.flight.landed.set(None);
    }
}
