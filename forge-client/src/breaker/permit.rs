use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::circuit::Ticket;
use super::origins::Entry;

/// Leave to send one request. Dropped without a verdict, it leaves its place to another one.
#[must_use]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    ticket: Option<Ticket>,
}

/// What a request says of the server it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is there, and answers.
    Success,
    /// It is not, or cannot.
    Failure,
}

impl Permit {
    pub(super) fn new(shared: Arc<Shared>, entry: Arc<Entry>, ticket: Ticket) -> Self {
        Self { shared, entry, ticket: Some(ticket) }
    }

    /// Asks once more, just before the request is sent, which may take this long: what came before, such as
    /// the wait for a token, may have taken longer than places are kept.
    pub(crate) fn renew(&mut self, timeout: Duration) -> Result<(), CircuitOpen> {
        let Some(ticket) = self.ticket else { return Ok(()) };
        // The usual case, in which the time does not matter.
        if self.entry.circuit.lock().is_closed_since(ticket) {
            return Ok(());
        }
        let (shared, now) = (&self.shared, self.shared.now());
        let renewed = shared
            .change_and_queue(&self.entry, |circuit| circuit.renew(ticket, now, timeout, &shared.rules));
        // The ticket first: if the announcement panics, its place is given back.
        if let Ok(ticket) = renewed {
            self.ticket = Some(ticket);
        }
        shared.announcer.deliver();
        renewed.map(drop).map_err(|time_left| CircuitOpen::new(&self.entry.origin, time_left))
    }

    /// Says what became of the request.
    pub(crate) fn record(mut self, verdict: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            // The usual case, in which the time does not matter.
            if self.entry.circuit.lock().is_unmoved_by(ticket, verdict) {
                return;
            }
            let (now, rules) = (self.shared.now(), &self.shared.rules);
            self.shared
                .change_and_announce(&self.entry, |circuit| circuit.record(ticket, verdict, now, rules));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.entry.circuit.lock().give_back(ticket);
        }
    }
}

/// A request was not sent: the server has been failing, and is given time.
#[derive(Clone, Debug)]
pub struct CircuitOpen {
    origin: Arc<str>,
    time_left: Option<Duration>,
}

impl CircuitOpen {
    pub(super) fn new(origin: &Arc<str>, time_left: Option<Duration>) -> Self {
        Self { origin: Arc::clone(origin), time_left }
    }

    /// The origin: scheme, host and, unless it is the scheme's own, port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How long nothing will be sent; `None` where the circuit is half-open, and its probes' answers are
    /// awaited.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the circuit of {} is ", self.origin)?;
        match self.time_left {
            Some(left) => write!(f, "open for another {left:?}"),
            None => f.write_str("half-open, and the answers to its probes are awaited"),
        }
    }
}

impl Error for CircuitOpen {}
