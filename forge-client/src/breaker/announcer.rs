use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::rt::Mutex;

use super::{CircuitState, CircuitTransition};

pub(super) type Listener = Arc<dyn Fn(&CircuitTransition) + Send + Sync>;

/// Announces transitions to the listener and the log: in their order, one at a time, and with no lock held. So a
/// listener may use the breaker, and even cause the next transition.
#[derive(Default)]
pub(super) struct Announcer {
    listener: Option<Listener>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<CircuitTransition>,
    is_delivering: bool,
}

impl Announcer {
    pub(super) fn new(listener: Option<Listener>) -> Self {
        Self { listener, queue: Mutex::default() }
    }

    pub(super) fn queue(&self, transition: CircuitTransition) {
        self.queue.lock().waiting.push_back(transition);
    }

    /// Delivers all queued transitions. Race: another thread may be delivering. It then delivers these, too: it
    /// looks at the queue again after each listener call.
    pub(super) fn deliver(&self) {
        while let Some(transition) = self.next() {
            let _telling = DeliveryGuard(self);
            log(&transition);
            if let Some(listener) = &self.listener {
                listener(&transition);
            }
        }
    }

    fn next(&self) -> Option<CircuitTransition> {
        let mut queue = self.queue.lock();
        if queue.is_delivering {
            return None;
        }
        let next = queue.waiting.pop_front();
        queue.is_delivering = next.is_some();
        next
    }
}

/// Ends a delivery, also if the listener panics. Otherwise no later transition would ever be delivered.
struct DeliveryGuard<'a>(&'a Announcer);

impl Drop for DeliveryGuard<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().is_delivering = false;
    }
}

fn log(transition: &CircuitTransition) {
    let origin = transition.origin();
    match transition.to() {
        CircuitState::Open => {
            tracing::warn!(origin, "circuit opened: no requests are sent to this origin for a while");
        }
        CircuitState::HalfOpen => tracing::info!(origin, "circuit half-open: probes are sent to this origin"),
        CircuitState::Closed => {
            tracing::info!(origin, "circuit closed: requests are sent to this origin again");
        }
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Announcer")
    }
}
