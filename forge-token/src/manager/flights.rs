use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::rt::{Deadline, Mutex};

/// The flight under way, if any. One manager has one key, so one flight at a time is enough.
pub(crate) struct Flights<T> {
    current: Mutex<Departures<T>>,
}

struct Departures<T> {
    last_number: u64,
    under_way: Option<UnderWay<T>>,
}

impl<T> Departures<T> {
    /// Whether this flight was under way. It is no more.
    fn end(&mut self, number: u64) -> bool {
        self.under_way.take_if(|flight| flight.number == number).is_some()
    }
}

struct UnderWay<T> {
    number: u64,
    /// When it should have ended by itself.
    deadline: Deadline,
    result: watch::Receiver<Option<T>>,
    /// Dropped when nobody joins it any more.
    _joinable: watch::Sender<()>,
}

impl<T: Clone> Flights<T> {
    pub(crate) fn new() -> Self {
        Self { current: Mutex::new(Departures { last_number: 0, under_way: None }) }
    }

    /// A ticket for the flight under way. If there is none, `begin` starts one that must land, by
    /// itself within `limit`.
    pub(crate) fn join<E>(
        self: &Arc<Self>,
        limit: Duration,
        begin: impl FnOnce(Landing<T>) -> Result<(), E>,
    ) -> Result<Ticket<T>, E> {
        let (ticket, landing) = {
            let mut current = self.current.lock();
            if let Some(flight) = &current.under_way {
                return Ok(Ticket { number: flight.number, result: flight.result.clone(), is_first: false });
            }
            let (sender, result) = watch::channel(None);
            let (joinable, is_joinable) = watch::channel(());
            current.last_number += 1;
            let number = current.last_number;
            current.under_way = Some(UnderWay {
                number,
                deadline: Deadline::after(limit),
                result: result.clone(),
                _joinable: joinable,
            });
            (
                Ticket { number, result, is_first: true },
                Landing { flights: Arc::clone(self), number, result: sender, is_joinable },
            )
        };
        // Not under the lock: a runtime that is shutting down drops what it is given at once, and
        // with it the landing, which locks.
        begin(landing)?;
        Ok(ticket)
    }

    /// A ticket for the flight under way, if there is one.
    pub(crate) fn under_way(&self) -> Option<Ticket<T>> {
        let current = self.current.lock();
        let flight = current.under_way.as_ref()?;
        Some(Ticket { number: flight.number, result: flight.result.clone(), is_first: false })
    }

    /// Makes sure that nobody joins the flight under way from now on and that it publishes nothing,
    /// and in the same step does `also`.
    pub(crate) fn detach(&self, also: impl FnOnce()) {
        let mut current = self.current.lock();
        current.under_way = None;
        also();
    }

    /// As [`detach`](Self::detach), for this flight only, and only if it is overdue: a caller may have
    /// spent its own time before it joined.
    pub(crate) fn abandon(&self, ticket: &Ticket<T>) {
        let mut current = self.current.lock();
        if current.under_way.as_ref().is_some_and(|flight| flight.deadline.has_passed()) {
            current.end(ticket.number);
        }
    }
}

/// A caller's place: all that ties it to the flight. Dropping it disturbs nobody.
pub(crate) struct Ticket<T> {
    number: u64,
    result: watch::Receiver<Option<T>>,
    is_first: bool,
}

impl<T: Clone> Ticket<T> {
    /// Whether the flight was begun for this ticket.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// What the flight brought; `None` if it was lost, with its runtime.
    pub(crate) async fn landing(&mut self) -> Option<T> {
        let landed = self.result.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

/// The flight's own end. Dropped without landing, it tells those who wait that it was lost.
pub(crate) struct Landing<T> {
    flights: Arc<Flights<T>>,
    number: u64,
    result: watch::Sender<Option<T>>,
    is_joinable: watch::Receiver<()>,
}

impl<T> Landing<T> {
    /// When this is not the flight any more that new callers join.
    pub(crate) async fn detached(&self) {
        let mut is_joinable = self.is_joinable.clone();
        // Nothing is ever sent: it ends when the sender is gone.
        while is_joinable.changed().await.is_ok() {}
    }

    /// Whether this still is the flight that new callers join.
    pub(crate) fn is_current(&self) -> bool {
        self.flights.current.lock().under_way.as_ref().is_some_and(|flight| flight.number == self.number)
    }

    /// Does something in one step with making sure that this still is the flight that new callers join.
    pub(crate) fn while_current(&self, publish: impl FnOnce()) {
        let current = self.flights.current.lock();
        if current.under_way.as_ref().is_some_and(|flight| flight.number == self.number) {
            publish();
        }
    }

    /// Tells the result to all who wait. If the flight was not detached, `publish` runs first, in the
    /// same step in which the flight ends: who comes later finds what was published.
    pub(crate) fn land(self, result: T, publish: impl FnOnce(&T)) {
        self.end(|| publish(&result));
        self.result.send_replace(Some(result));
    }

    fn end(&self, publish: impl FnOnce()) {
        let mut current = self.flights.current.lock();
        if current.end(self.number) {
            publish();
        }
    }
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.end(|| ());
    }
}
