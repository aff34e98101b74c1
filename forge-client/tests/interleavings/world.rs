//! Callers, a server that counts requests, and a listener of the breaker's transitions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{Clock, ManualClock};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread::{self, yield_now};
use url::Url;

use crate::breaker::{CircuitBreaker, CircuitState, Permit, Verdict};
use crate::origin::RequestUrl;

/// Runs the scenario in about this many orders: random ones, and ones with few but nasty preemptions. Each
/// plain run tries the same orders. With `FORGE_TEST_LONG` set, each run tries twenty times as many, and
/// different ones.
pub(crate) fn explore(orders: usize, scenario: fn()) {
    let mut config = shuttle::Config::new();
    config.stack_size = 128 * 1024;
    let half = orders / 2;
    if std::env::var_os("FORGE_TEST_LONG").is_some() {
        shuttle::Runner::new(RandomScheduler::new(half * 20), config.clone()).run(scenario);
        shuttle::Runner::new(PctScheduler::new(3, half * 20), config).run(scenario);
    } else {
        shuttle::Runner::new(RandomScheduler::new_from_seed(SEED, half), config.clone()).run(scenario);
        shuttle::Runner::new(PctScheduler::new_from_seed(SEED, 3, half), config).run(scenario);
    }
}

const SEED: u64 = 20_261_121;
const URL: &str = "https://a.example";
const OPEN_FOR: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a sent request ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Succeeds,
    Fails,
    Dropped,
    /// The request never ends.
    Hangs,
}

impl Fate {
    fn befalls(self, permit: Permit) {
        match self {
            Self::Succeeds => permit.record(Verdict::Success),
            Self::Fails => permit.record(Verdict::Failure),
            Self::Dropped => drop(permit),
            Self::Hangs => std::mem::forget(permit),
        }
    }
}

#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    breaker: CircuitBreaker,
    clock: Arc<ManualClock>,
    url: RequestUrl,
    /// The circuit's state, by the transitions that the listener has heard.
    heard: Arc<Mutex<CircuitState>>,
    /// How often the breaker was reset. Only a reset makes the transition from open to closed.
    resets: Arc<AtomicUsize>,
    sent: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl World {
    pub(crate) fn closed() -> Self {
        let clock = Arc::new(ManualClock::new());
        let heard = Arc::new(Mutex::new(CircuitState::Closed));
        let listener = Arc::clone(&heard);
        let reset = Arc::new(AtomicUsize::new(0));
        let resets = Arc::clone(&reset);
        let breaker = CircuitBreaker::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .open_for(OPEN_FOR)
            .on_transition(move |transition| {
                use CircuitState::{Closed, HalfOpen, Open};
                let (from, to) = (transition.from(), transition.to());
                // Other threads may run while the breaker informs this listener.
                yield_now();
                let was = std::mem::replace(&mut *listener.lock().expect("no panic"), to);
                assert_eq!(was, from, "told out of order");
                let may_be =
                    matches!((from, to), (Closed, Open) | (Open, HalfOpen) | (HalfOpen, Open | Closed));
                let is_reset = (from, to) == (Open, Closed) && resets.load(Ordering::SeqCst) > 0;
                assert!(may_be || is_reset, "from {from} to {to}");
            })
            .build()
            .expect("a breaker");
        Self(Arc::new(Inner {
            breaker,
            clock,
            url: Url::parse(URL).expect("a URL").into(),
            heard,
            resets: reset,
            sent: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn half_open() -> Self {
        let world = Self::closed();
        for _ in 0..5 {
            let permit = world.0.breaker.admit(&world.0.url, TIMEOUT);
            permit.expect("closed so far").record(Verdict::Failure);
        }
        assert_eq!(world.state(), CircuitState::Open);
        world.pass_open_time();
        world
    }

    /// Resets the breaker on another thread, which the caller joins.
    pub(crate) fn reset(&self) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || {
            world.0.resets.fetch_add(1, Ordering::SeqCst);
            world.0.breaker.reset();
        })
    }

    /// Runs this many callers at once. The closure returns how each sent request ends, by its number.
    pub(crate) fn callers(&self, count: usize, fate: fn(usize) -> Fate) {
        let callers: Vec<_> = (0..count)
            .map(|_| {
                let world = self.clone();
                thread::spawn(move || world.call(fate))
            })
            .collect();
        for caller in callers {
            caller.join().expect("no panic");
        }
    }

    fn call(&self, fate: fn(usize) -> Fate) {
        let Ok(permit) = self.0.breaker.admit(&self.0.url, TIMEOUT) else { return };
        // Other threads may run while the caller fetches its token.
        yield_now();
        self.send(permit, fate);
    }

    fn send(&self, mut permit: Permit, fate: fn(usize) -> Fate) {
        if permit.confirm(TIMEOUT).is_err() {
            return;
        }
        let fate = fate(self.0.sent.fetch_add(1, Ordering::SeqCst) + 1);
        let at_once = self.0.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        yield_now();
        if fate != Fate::Hangs {
            // This comes before the permit's return, at which the breaker may admit the next request.
            self.0.at_once.fetch_sub(1, Ordering::SeqCst);
        }
        fate.befalls(permit);
    }

    /// Runs callers that the breaker admits, and that wait for their tokens until they lose their places.
    /// After this many rounds all of them send at once.
    pub(crate) fn late_callers(&self, rounds: usize, fate: fn(usize) -> Fate) {
        let mut permits = Vec::new();
        for _ in 0..rounds {
            while let Ok(permit) = self.0.breaker.admit(&self.0.url, TIMEOUT) {
                permits.push(permit);
            }
            self.0.clock.advance(TIMEOUT * 2);
        }
        let callers = permits.into_iter().map(|permit| {
            let world = self.clone();
            thread::spawn(move || world.send(permit, fate))
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.join().expect("no panic");
        }
    }

    /// Runs callers whose calls end in every way, while the clock advances in leaps.
    pub(crate) fn chaos(&self, callers: usize, calls: usize) {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let world = self.clone();
                thread::spawn(move || (0..calls).for_each(|_| world.call_somehow()))
            })
            .collect();
        for caller in callers {
            caller.join().expect("no panic");
        }
    }

    fn call_somehow(&self) {
        if thread_rng().gen_range(0..4) == 0 {
            self.0.clock.advance(OPEN_FOR);
        }
        let Ok(mut permit) = self.0.breaker.admit(&self.0.url, TIMEOUT) else { return };
        yield_now();
        if permit.confirm(TIMEOUT).is_err() {
            return;
        }
        yield_now();
        let fate = match thread_rng().gen_range(0..8) {
            0 | 1 => Fate::Succeeds,
            2 => Fate::Dropped,
            3 => Fate::Hangs,
            _ => Fate::Fails,
        };
        fate.befalls(permit);
    }

    pub(crate) fn pass_open_time(&self) {
        self.0.clock.advance(OPEN_FOR);
    }

    /// Advances the clock by twice the time-out of the requests.
    pub(crate) fn give_up_the_hanging(&self) {
        self.0.clock.advance(TIMEOUT * 2);
        self.0.at_once.store(0, Ordering::SeqCst);
    }

    pub(crate) fn state(&self) -> CircuitState {
        self.0.breaker.state(URL).expect("a URL")
    }

    pub(crate) fn expect_each_transition(&self) {
        let state = self.state();
        assert_eq!(*self.0.heard.lock().expect("no panic"), state);
    }

    pub(crate) fn sent(&self) -> usize {
        self.0.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.0.most_at_once.load(Ordering::SeqCst)
    }
}
