//! The circuit breaker: whether the client sends requests to an origin at all. No I/O.
//!
//! Two kinds of locks: one for the map of origins, and one for each circuit. A thread holds at most one of them at a
//! time, and none while it calls a listener. [`announcer`] has the rules for listeners.

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

/// Stops requests to an origin that has been failing, and sends a few probes after a while to see whether the origin
/// works again. Cheap to clone. Clones share all circuits, so several clients can share one breaker.
///
/// | state | what happens |
/// | --- | --- |
/// | closed | The client sends requests. Enough failures open the circuit. |
/// | open | The client sends nothing ([`is_circuit_open`](crate::HttpClientError::is_circuit_open)), for 30 s. |
/// | half-open | The client sends three probes, and nothing else. If all succeed, the circuit closes; the first failure opens it again. |
///
/// A probe may be given up, because its caller drops the future or the client gets no token for it. Another
/// probe then takes its place. The same is true of a probe without an outcome for twice its time-out, or for 10
/// minutes. So no circuit stays half-open because an outcome is missing.
///
/// | outcome of a request | counts as |
/// | --- | --- |
/// | status 500 or above; no connection, or an interrupted one; no response in time | failure |
/// | any other response: with 401 or 429 the server shows that it works | success |
/// | an error before the request is sent; a caller that drops the future | neither |
/// | a time-out of an attempt that had less than half of its time, because a token used up the rest | neither |
///
/// So only the client's own time-outs count. The breaker counts a response when its head arrives. It ignores the
/// outcome of a request that was sent before the circuit last opened or closed.
///
/// Each origin (scheme, host, port) has a circuit of its own. The breaker remembers the circuits of the 1,000 origins
/// that were used last.
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
/// use requestforge::breaker::CircuitState;
/// use requestforge::CircuitBreaker;
///
/// let breaker = CircuitBreaker::builder()
///     .failure_threshold(10)
///     .failure_rate(0.5, 20, Duration::from_secs(60))
///     .on_transition(|transition| println!("{}: {}", transition.origin(), transition.to()))
///     .build()?;
/// assert_eq!(breaker.state("https://api.example.com")?, CircuitState::Closed);
/// # Ok::<_, requestforge::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct CircuitBreaker(Arc<SharedState>);

struct SharedState {
    rules: Rules,
    clock: Arc<dyn Clock>,
    origins: Origins,
    announcer: Announcer,
}

/// The state of a circuit: see [`CircuitBreaker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// The client sends requests.
    Closed,
    /// The client sends nothing.
    Open,
    /// The client sends probes, and nothing else.
    HalfOpen,
}

/// The change of a circuit from one state to another.
#[derive(Clone, Debug)]
pub struct CircuitTransition {
    origin: Arc<str>,
    from: CircuitState,
    to: CircuitState,
}

impl CircuitBreaker {
    /// A breaker with the defaults.
    #[must_use]
    pub fn new() -> Self {
        CircuitBreakerBuilder::default().finish()
    }

    /// A builder with the defaults.
    pub fn builder() -> CircuitBreakerBuilder {
        CircuitBreakerBuilder::default()
    }

    /// The state of the circuit of this URL's origin. An origin that got no request yet has a closed circuit.
    ///
    /// # Errors
    ///
    /// The text is not an absolute http or https URL, or has a user name.
    pub fn state(&self, url: &str) -> Result<CircuitState, ConfigError> {
        let url = absolute("url", url)?;
        let Some(entry) = self.0.origins.find(origin_text(&url)) else {
            return Ok(CircuitState::Closed);
        };
        let now = self.0.now();
        // No timer half-opens a circuit: the first caller after the open time does, here or in `admit`.
        self.0.change_and_announce(&entry, |circuit| circuit.tick(now));
        let state = entry.circuit.lock().state();
        Ok(state)
    }

    /// Closes all circuits, and forgets all failures. Call it when you know that a server works again before its
    /// circuit is half-open. The outcomes of requests that are under way no longer count.
    ///
    /// ```
    /// use requestforge::breaker::CircuitState;
    /// use requestforge::CircuitBreaker;
    ///
    /// let breaker = CircuitBreaker::new();
    /// breaker.reset();
    /// assert_eq!(breaker.state("https://api.example.com")?, CircuitState::Closed);
    /// # Ok::<_, requestforge::ConfigError>(())
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

    /// Asks for a permit to send one request that may take this long. The holder [confirms](Permit::confirm) the
    /// permit just before it sends, and then [records](Permit::record) the outcome or drops the permit.
    pub(crate) fn admit(&self, url: &RequestUrl, timeout: Duration) -> Result<Permit, CircuitOpen> {
        let shared = &self.0;
        let now = shared.now();
        let entry = shared.origins.of(url, now, shared.rules.failure_rate);
        // Speed: the usual case. A closed circuit changes nothing, so there is nothing to announce.
        let ticket = entry.circuit.lock().ticket_if_closed();
        if let Some(ticket) = ticket {
            return Ok(Permit::new(Arc::clone(shared), entry, ticket));
        }
        let admitted = shared.admit(&entry, now, timeout);
        // Order: make the permit before the announcement. If a listener panics, the permit is dropped and gives its
        // place back; a bare ticket would keep the place until the probe counts as lost.
        let permit = admitted.map(|ticket| Permit::new(Arc::clone(shared), Arc::clone(&entry), ticket));
        shared.announcer.deliver();
        permit.map_err(|time_left| CircuitOpen::new(&entry.origin, time_left))
    }

    /// Whether the breaker would refuse a request after this delay, if nothing happened meanwhile. Takes no place.
    pub(crate) fn refuses_after(&self, delay: Duration, url: &Url) -> bool {
        let then = self.0.now().saturating_add(circuit::to_millis(delay));
        let entry = self.0.origins.find(origin_text(url));
        entry.is_some_and(|entry| entry.circuit.lock().refuses(then, &self.0.rules))
    }
}

impl SharedState {
    fn now(&self) -> i64 {
        self.clock.now().monotonic_millis()
    }

    fn admit(&self, entry: &Entry, now: i64, timeout: Duration) -> circuit::Admission {
        self.change_and_queue(entry, |circuit| circuit.admit(now, timeout, &self.rules))
    }

    /// Changes a circuit, and announces the transition if there is one.
    fn change_and_announce(&self, entry: &Entry, change: impl FnOnce(&mut circuit::Circuit)) {
        self.change_and_queue(entry, change);
        self.announcer.deliver();
    }

    /// Changes a circuit, and queues the transition if there is one.
    ///
    /// Order: the transition is queued while the circuit is locked, so the queue has the transitions of a circuit in
    /// their order. It is announced after the lock is released, because a listener may ask for the state.
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

    /// The state before.
    #[must_use]
    pub fn from(&self) -> CircuitState {
        self.from
    }

    /// The state since.
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
