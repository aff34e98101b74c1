use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A counter that moves with every change of one key in a storage. Reading it is one atomic load.
#[derive(Clone, Debug)]
pub struct Generation {
    counter: Arc<AtomicU64>,
    staleness_limits: Option<StalenessLimits>,
}

impl Generation {
    /// How things stand. Read it before the storage: if it still is the same later, so is the token.
    #[must_use]
    #[inline]
    pub fn current(&self) -> GenerationStamp {
        GenerationStamp(self.counter.load(Ordering::Acquire))
    }

    /// Tells this counter, and so one key in one storage, from all others that somebody holds at the time.
    #[must_use]
    pub fn id(&self) -> GenerationId {
        GenerationId(Arc::as_ptr(&self.counter).addr())
    }

    /// How far the counter can be trusted; `None`: it sees every change.
    #[must_use]
    pub fn staleness_limits(&self) -> Option<StalenessLimits> {
        self.staleness_limits
    }

    #[doc(hidden)]
    #[deprecated(note = "renamed to `staleness_limits`")]
    #[must_use]
    pub fn freshness(&self) -> Option<StalenessLimits> {
        self.staleness_limits()
    }
}

/// Which [`Generation`] it is. When nobody holds that any more, another one may get the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GenerationId(usize);

/// What a [`Generation`] was when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GenerationStamp(u64);

/// Above the changes, which would take millions of years to get there.
const UNCERTAINTY: u64 = 1 << 48;

impl GenerationStamp {
    /// Whether there was exactly one change since, and no doubt.
    #[must_use]
    pub fn is_next_after(self, before: Self) -> bool {
        self.0 == before.0.wrapping_add(1)
    }

    /// Whether there was no change that is known of; there may be doubt.
    #[must_use]
    pub fn has_same_changes(self, other: Self) -> bool {
        self.0 % UNCERTAINTY == other.0 % UNCERTAINTY
    }
}

/// How far a storage's announcements can be trusted where they come over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StalenessLimits {
    /// After this time the token at hand is compared with the storage's, in the background: some who
    /// write to it may announce nothing.
    pub recheck_after: Duration,
    /// After this time without such a comparison it is not handed out any more.
    pub trusted_for: Duration,
}

/// The counters of a storage: created for those who ask, held weakly, so that keys nobody watches
/// cost nothing.
///
/// A storage calls [`bump`](Self::bump) once after each `set`, `delete` and successful
/// compare-and-delete, and [`bump_all`](Self::bump_all) after a clear. Eviction is no change: who
/// has the token may go on using it. Where a storage cannot tell whether something has changed, it calls
/// [`mark_uncertain`](Self::mark_uncertain) or [`mark_all_uncertain`](Self::mark_all_uncertain): it is asked again, and what is at hand
/// stays valid if it cannot be.
#[derive(Debug, Default)]
pub struct Generations {
    counters: Mutex<Counters>,
    staleness_limits: Option<StalenessLimits>,
}

#[derive(Debug, Default)]
struct Counters {
    by_key: HashMap<String, Weak<AtomicU64>>,
    prune_at: usize,
}

impl Generations {
    /// Counters that may miss something, and how far they can be trusted. Those of `default()` do not.
    #[must_use]
    pub fn with_staleness_limits(staleness_limits: StalenessLimits) -> Self {
        Self { staleness_limits: Some(staleness_limits), ..Self::default() }
    }

    /// The counter of a key.
    #[must_use]
    pub fn of(&self, key: &str) -> Generation {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counters.by_key.get(key).and_then(Weak::upgrade);
        let counter = known.unwrap_or_else(|| counters.begin(key));
        Generation { counter, staleness_limits: self.staleness_limits }
    }

    /// Tells those who watch the key that it has changed. Call it when the change can be read.
    pub fn bump(&self, key: &str) {
        self.advance(key, 1);
    }

    /// Tells everybody that their key has changed.
    pub fn bump_all(&self) {
        self.advance_all(1);
    }

    /// Tells those who watch the key that it may have changed.
    pub fn mark_uncertain(&self, key: &str) {
        self.advance(key, UNCERTAINTY);
    }

    /// Tells everybody that their key may have changed.
    pub fn mark_all_uncertain(&self) {
        self.advance_all(UNCERTAINTY);
    }

    #[doc(hidden)]
    #[deprecated(note = "renamed to `with_staleness_limits`")]
    #[must_use]
    pub fn with_freshness(limits: StalenessLimits) -> Self {
        Self::with_staleness_limits(limits)
    }

    #[doc(hidden)]
    #[deprecated(note = "renamed to `mark_uncertain`")]
    pub fn doubt(&self, key: &str) {
        self.mark_uncertain(key);
    }

    #[doc(hidden)]
    #[deprecated(note = "renamed to `mark_all_uncertain`")]
    pub fn doubt_all(&self) {
        self.mark_all_uncertain();
    }

    fn advance(&self, key: &str, by: u64) {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.by_key.get(key).and_then(Weak::upgrade) {
            counter.fetch_add(by, Ordering::Release);
        }
    }

    fn advance_all(&self, by: u64) {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for counter in counters.by_key.values().filter_map(Weak::upgrade) {
            counter.fetch_add(by, Ordering::Release);
        }
    }
}

impl Counters {
    fn begin(&mut self, key: &str) -> Arc<AtomicU64> {
        self.prune();
        let counter = Arc::new(AtomicU64::new(0));
        self.by_key.insert(key.to_owned(), Arc::downgrade(&counter));
        counter
    }

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
        assert!(a.current().is_next_after(GenerationStamp(0)));
        assert_eq!((again.current(), b.current()), (a.current(), GenerationStamp(0)));
        assert!(a.id() == again.id() && a.id() != b.id());
        generations.bump_all();
        assert!(
            a.current().is_next_after(GenerationStamp(1)) && b.current().is_next_after(GenerationStamp(0))
        );
    }

    #[test]
    fn a_doubt_is_no_change_and_is_noticed() {
        let generations = Generations::default();
        let (a, b) = (generations.of("a"), generations.of("b"));
        let before = a.current();
        generations.mark_uncertain("a");
        let doubted = a.current();
        assert!(doubted != before && doubted.has_same_changes(before) && !doubted.is_next_after(before));
        assert_eq!(b.current(), before);
        generations.bump("a");
        assert!(!a.current().has_same_changes(before) && !a.current().is_next_after(before));
        assert!(a.current().is_next_after(doubted));
        generations.mark_all_uncertain();
        assert!(b.current() != before && b.current().has_same_changes(before));
    }

    #[test]
    fn counters_nobody_watches_do_not_pile_up() {
        let generations = Generations::default();
        let kept = generations.of("kept");
        for i in 0..10_000 {
            let _ = generations.of(&format!("key {i}"));
        }
        assert!(generations.counters.lock().unwrap().by_key.len() <= 128);
        generations.bump("kept");
        assert!(kept.current().is_next_after(GenerationStamp(0)));
    }
}
