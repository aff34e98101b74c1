//! The breaker: per origin, whether requests are sent at all.

mod announcer;
mod builder;
mod circuit;
mod origins;
mod permit;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{Clock, ConfigError};
use url::Url;

pub use builder::CircuitBreakerBuilder;
pub use permit::CircuitOpen;

pub(crate) use permit::{Permit, Verdict};

use crate::origin::{RequestUrl, absolute, origin_text};
use announcer::Announcer;
use circuit::Rules;
use origins::{Entry, Origins};

/// Sends nothing to an origin that has been failing, and lets a few requests through now and then to see
/// whether it is well again. Cheap to clone; clones share everything, so that several clients can share
/// what they know.
///
/// | state | what happens |
/// | --- | --- |
/// | closed | Requests are sent. Enough failures open the circuit. |
/// | open | Nothing is sent ([`is_circuit_open`](crate::HttpClientError::is_circuit_open)), for 30 s. |
/// | half-open | Three probes are sent, and nothing else. Once all have succeeded the circuit is closed; the first failure opens it again. |
///
/// A probe that is given up (its future was dropped, no token could be had) leaves its place to another
/// one, and so does one of which nothing was heard for twice its time-out, or 10 minutes: no circuit stays
/// half-open for want of an answer.
///
/// A failure is a status of 500 or above, no connection, a broken one, or no answer in time. Any other
/// answer is a success: with 401 or 429 the server says that it is there. What fails before anything is
/// sent is neither, and so is a call whose caller gave up (dropped its future): time-outs that are to count
/// are the client's. Of a call's total time-out, a token may leave too little for an attempt to say anything:
/// less than half of it is neither, too. An answer counts when its head is there, in the state in which the request was sent:
/// those that come late, after the circuit was opened or closed, are old news.
///
/// Each origin (scheme, host, port) has a circuit of its own; those of the 1,000 that were used last are
/// remembered.
///
/// | setting | default |
/// | --- | --- |
/// | [`failure_threshold`](CircuitBreakerBuilder::failure_threshold) | 5 failures in a row |
/// | [`failure_rate`](CircuitBreakerBuilder::failure_rate) | none |
/// | [`open_for`](CircuitBreakerBuilder::open_for) | 30 s |
/// | [`half_open_probes`](CircuitBreakerBuilder::half_open_probes) | 3 |
///
/// ```
/// use std::time::Duration;
/// use forge_client::{CircuitBreaker, CircuitState};
///
/// let breaker = CircuitBreaker::builder()
///     .failure_threshold(10)
///     .failure_rate(0.5, 20, Duration::from_secs(60))
///     .on_transition(|transition| println!("{}: {}", transition.origin(), transition.to()))
///     .build()?;
/// assert_eq!(breaker.state("https://api.example.com")?, CircuitState::Closed);
/// # Ok::<_, forge_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Shared>);

struct Shared {
    rules: Rules,
    clock: Arc<dyn Clock>,
    origins: Origins,
    announcer: Announcer,
}

/// How a circuit stands; see [`CircuitBreaker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Requests are sent.
    Closed,
    /// Nothing is sent.
    Open,
    /// Probes are sent, and nothing else.
    HalfOpen,
}

/// A circuit was opened, closed, or half-opened.
#[derive(Clone, Debug)]
pub struct CircuitTransition {
    origin: Arc<str>,
    from: CircuitState,
    to: CircuitState,
}

impl CircuitBreaker {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        CircuitBreakerBuilder::default().finish()
    }

    /// The defaults, to be changed.
    pub fn builder() -> CircuitBreakerBuilder {
        CircuitBreakerBuilder::default()
    }

    /// How the circuit of this URL's origin stands. Closed if nothing was ever sent there.
    ///
    /// # Errors
    ///
    /// It is no absolute http or https URL, or has a user name.
    pub fn state(&self, url: &str) -> Result<CircuitState, ConfigError> {
        let url = absolute("url", url)?;
        let Some(entry) = self.0.origins.find(origin_text(&url)) else {
            return Ok(CircuitState::Closed);
        };
        let now = self.0.now();
        // The end of an open circuit's time is noticed by whoever looks first.
        self.0.change_and_announce(&entry, |circuit| circuit.tick(now));
        let state = entry.circuit.lock().state();
        Ok(state)
    }

    /// Closes all circuits, and forgets all failures. Call it when you know that a server works again before its
    /// circuit is half-open. The outcomes of requests that are under way no longer count.
    ///
    /// ```
    /// use forge_client::{CircuitBreaker, CircuitState};
    ///
    /// let breaker = CircuitBreaker::new();
    /// breaker.reset();
    /// assert_eq!(breaker.state("https://api.example.com")?, CircuitState::Closed);
    /// # Ok::<_, forge_core::ConfigError>(())
    /// ```
    pub fn reset(&self) {
        let shared = &self.0;
        for entry in shared.origins.all() {
            shared.change_and_queue(&entry, |circuit| circuit.reset(&shared.rules));
        }
        // Order: tell listeners only when all circuits are closed. A listener that panics must not leave some
        // open.
        shared.announcer.deliver();
    }

    /// Asks for leave to send one request, which may take this long. Whoever gets it [asks once
    /// more](Permit::renew) when it is ready, says [what became of it](Permit::record), or drops the permit.
    pub(crate) fn admit(&self, url: &RequestUrl, timeout: Duration) -> Result<Permit, CircuitOpen> {
        let shared = &self.0;
        let now = shared.now();
        let entry = shared.origins.of(url, now, shared.rules.failure_rate);
        // The usual case, in which nothing changes that others would have to be told of.
        let ticket = entry.circuit.lock().ticket_if_closed();
        if let Some(ticket) = ticket {
            return Ok(Permit::new(Arc::clone(shared), entry, ticket));
        }
        let admitted = shared.admit(&entry, now, timeout);
        // The permit first: if the announcement panics, its place is given back.
        let permit = admitted.map(|ticket| Permit::new(Arc::clone(shared), Arc::clone(&entry), ticket));
        shared.announcer.deliver();
        permit.map_err(|time_left| CircuitOpen::new(&entry.origin, time_left))
    }

    /// Whether a request would be refused after this delay, if nothing happened meanwhile. Takes no place.
    pub(crate) fn refuses_after(&self, delay: Duration, url: &Url) -> bool {
        let then = self.0.now().saturating_add(circuit::to_millis(delay));
        let entry = self.0.origins.find(origin_text(url));
        entry.is_some_and(|entry| entry.circuit.lock().refuses(then, &self.0.rules))
    }
}

impl Shared {
    fn now(&self) -> i64 {
        self.clock.now().monotonic_millis()
    }

    fn admit(&self, entry: &Entry, now: i64, timeout: Duration) -> circuit::Admission {
        self.change_and_queue(entry, |circuit| circuit.admit(now, timeout, &self.rules))
    }

    /// Changes a circuit, and tells who wants to know.
    fn change_and_announce(&self, entry: &Entry, change: impl FnOnce(&mut circuit::Circuit)) {
        self.change_and_queue(entry, change);
        self.announcer.deliver();
    }

    /// Transitions are queued under the circuit's lock, in their order, and told outside it: who is told
    /// may ask for the state.
    fn change_and_queue<T>(&self, entry: &Entry, change: impl FnOnce(&mut circuit::Circuit) -> T) -> T {
        let mut circuit = entry.circuit.lock();
        let from = circuit.state();
        let result = change(&mut circuit);
        let to = circuit.state();
        if from != to {
            self.announcer.queue(CircuitTransition { origin: Arc::clone(&entry.origin), from, to });
        }
        result
    }
}

impl CircuitTransition {
    /// The origin: scheme, host and, unless it is the scheme's own, port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How the circuit stood.
    #[must_use]
    pub fn from(&self) -> CircuitState {
        self.from
    }

    /// How it stands since.
    #[must_use]
    pub fn to(&self) -> CircuitState {
        self.to
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("rules", &self.0.rules).finish_non_exhaustive()
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}
