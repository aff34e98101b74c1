use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SharedState;
use super::circuit::Ticket;
use super::origins::Entry;

/// The permit to send one request. A permit that is dropped without a verdict gives its place back.
#[must_use]
pub(crate) struct Permit {
    shared: Arc<SharedState>,
    entry: Arc<Entry>,
    ticket: Option<Ticket>,
}

/// The verdict on a server, by the outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server works.
    Success,
    /// The server does not respond, or reports an error of its own.
    Failure,
}

impl Permit {
    pub(super) fn new(shared: Arc<SharedState>, entry: Arc<Entry>, ticket: Ticket) -> Self {
        Self { shared, entry, ticket: Some(ticket) }
    }

    /// Confirms the permit just before the request is sent, which may take this long. Race: the wait for a token
    /// may have lasted longer than the circuit keeps a place, so the place may be another request's by now.
    pub(crate) fn confirm(&mut self, timeout: Duration) -> Result<(), CircuitOpen> {
        let Some(ticket) = self.ticket else { return Ok(()) };
        // Speed: the usual case. In a circuit that stayed closed, the ticket is still good, whatever the time.
        if self.entry.circuit.lock().is_closed_since(ticket) {
            return Ok(());
        }
        let (shared, now) = (&self.shared, self.shared.now());
        let confirmed = shared
            .change_and_queue(&self.entry, |circuit| circuit.confirm(ticket, now, timeout, &shared.rules));
        // Order: keep the ticket before the announcement. If a listener panics, `drop` gives the place back.
        if let Ok(ticket) = confirmed {
            self.ticket = Some(ticket);
        }
        shared.announcer.deliver();
        confirmed.map(drop).map_err(|time_left| CircuitOpen::new(&self.entry.origin, time_left))
    }

    /// Records the outcome of the request.
    pub(crate) fn record(mut self, verdict: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            // Speed: the usual case. A success changes nothing in a closed circuit without failures.
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

/// Why the breaker refused a request: the server has been failing, and gets time to recover.
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

    /// How long the client will send nothing there. `None` if the circuit is half-open and waits for its probes.
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
            None => f.write_str("half-open, and waits for its probes"),
        }
    }
}

impl Error for CircuitOpen {}
