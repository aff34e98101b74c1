use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A counter that moves with every change of one key in a storage. Reading it is one atomic load.
#[derive(Clone, Debug)]
pub struct Generation(Arc<AtomicU64>);

impl Generation {
    /// How often the key has changed. Read it before the storage: if it still is the same later,
    /// so is the token.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The counters of a storage: created for those who ask, held weakly, so that keys nobody watches
/// cost nothing.
///
/// A storage calls [`bump`](Self::bump) once after each `set`, `delete` and successful
/// compare-and-delete, and [`bump_all`](Self::bump_all) after a clear. Eviction is no change: who
/// has the token may go on using it.
#[derive(Debug, Default)]
pub struct Generations(Mutex<Counters>);

#[derive(Debug, Default)]
struct Counters {
    by_key: HashMap<String, Weak<AtomicU64>>,
    prune_at: usize,
}

impl Generations {
    /// The counter of a key.
    #[must_use]
    pub fn of(&self, key: &str) -> Generation {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.by_key.get(key).and_then(Weak::upgrade) {
            return Generation(counter);
        }
        counters.prune();
        let counter = Arc::new(AtomicU64::new(0));
        counters.by_key.insert(key.to_owned(), Arc::downgrade(&counter));
        Generation(counter)
    }

    /// Tells those who watch the key that it has changed. Call it when the change can be read.
    pub fn bump(&self, key: &str) {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.by_key.get(key).and_then(Weak::upgrade) {
            counter.fetch_add(1, Ordering::Release);
        }
    }

    /// Tells everybody that their key has changed.
    pub fn bump_all(&self) {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for counter in counters.by_key.values().filter_map(Weak::upgrade) {
            counter.fetch_add(1, Ordering::Release);
        }
    }
}

impl Counters {
    /// Drops the counters nobody watches, whenever the map has doubled since the last time.
    fn prune(&mut self) {
        if self.by_key.len() >= self.prune_at {
            self.by_key.retain(|_, counter| counter.strong_count() > 0);
            self.prune_at = (self.by_key.len() * 2).max(64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bump_reaches_all_who_watch_the_key_and_nobody_else() {
        let generations = Generations::default();
        let (a, again, b) = (generations.of("a"), generations.of("a"), generations.of("b"));
        generations.bump("a");
        generations.bump("nobody watches this");
        assert_eq!((a.current(), again.current(), b.current()), (1, 1, 0));
        generations.bump_all();
        assert_eq!((a.current(), b.current()), (2, 1));
    }

    #[test]
    fn counters_nobody_watches_do_not_pile_up() {
        let generations = Generations::default();
        let kept = generations.of("kept");
        for i in 0..10_000 {
            let _ = generations.of(&format!("key {i}"));
        }
        assert!(generations.0.lock().unwrap().by_key.len() <= 128);
        generations.bump("kept");
        assert_eq!(kept.current(), 1);
    }
}
