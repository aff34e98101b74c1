use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A counter that moves with each change of one key in a storage. Reading it is one atomic load.
#[derive(Clone, Debug)]
pub struct Generation {
    counter: Arc<AtomicU64>,
    staleness_limits: Option<StalenessLimits>,
}

impl Generation {
    /// The present stamp. Read it before the storage: as long as the stamp stays the same, so does the token.
    #[must_use]
    #[inline]
    pub fn current(&self) -> GenerationStamp {
        // Order: Acquire pairs with the Release in `Generations::advance`. A reader that sees the new stamp also sees
        // the change that the storage made before it moved the counter.
        GenerationStamp(self.counter.load(Ordering::Acquire))
    }

    /// The identity of this counter, and so of one key in one storage. No other counter that is alive has the same.
    #[must_use]
    pub fn id(&self) -> GenerationId {
        GenerationId(Arc::as_ptr(&self.counter).addr())
    }

    /// How long a reader may rely on the counter. `None`: without limit, because the counter misses no change.
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

/// The identity of a [`Generation`]. When its last clone is dropped, a later one may get the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GenerationId(usize);

/// The value that a [`Generation`] had when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GenerationStamp(u64);

/// The unit in which uncertainty is counted. The lower 48 bits count changes: with a thousand changes a second they
/// overflow after 8,900 years. The upper 16 bits count uncertainty; when they overflow, only they begin anew.
const UNCERTAINTY: u64 = 1 << 48;

impl GenerationStamp {
    /// Whether there was exactly one change since `before`, and no uncertainty.
    #[must_use]
    pub fn is_next_after(self, before: Self) -> bool {
        self.0 == before.0.wrapping_add(1)
    }

    /// Whether no change is known between the two stamps. There may be uncertainty.
    #[must_use]
    pub fn has_same_changes(self, other: Self) -> bool {
        self.0 % UNCERTAINTY == other.0 % UNCERTAINTY
    }
}

/// How long a manager relies on announcements of changes that come over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StalenessLimits {
    /// After this time the manager compares its cached token with the storage's, in the background. This finds the changes
    /// of writers that announce nothing.
    pub recheck_after: Duration,
    /// After this time without such a comparison the manager hands out the cached token no more.
    pub trusted_for: Duration,
}

/// The counters of a storage, one for each key that a manager watches.
///
/// A storage calls [`bump`](Self::bump) once after each `set`, `delete` and successful compare-and-delete, and
/// [`bump_all`](Self::bump_all) after it has deleted all tokens. It does not call them after an eviction: a manager that
/// has the token may continue to use it. If the storage does not know whether a token has changed, it calls
/// [`mark_uncertain`](Self::mark_uncertain) or [`mark_all_uncertain`](Self::mark_all_uncertain). Managers then read the
/// storage again. If the read fails, they keep their cached token.
#[derive(Debug, Default)]
pub struct Generations {
    counters: Mutex<Counters>,
    staleness_limits: Option<StalenessLimits>,
}

#[derive(Debug, Default)]
struct Counters {
    /// Weak, so that a key costs no memory once no manager watches it.
    by_key: HashMap<String, Weak<AtomicU64>>,
    prune_at: usize,
}

impl Generations {
    /// Counters that may miss a change, with these limits. The counters of `default()` miss none.
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

    /// Tells the watchers of the key that it has changed. Call this after the change, when a read already sees it.
    pub fn bump(&self, key: &str) {
        self.advance(key, 1);
    }

    /// Tells all watchers that their key has changed.
    pub fn bump_all(&self) {
        self.advance_all(1);
    }

    /// Tells the watchers of the key that it may have changed.
    pub fn mark_uncertain(&self, key: &str) {
        self.advance(key, UNCERTAINTY);
    }

    /// Tells all watchers that their key may have changed.
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
            // Order: Release pairs with the Acquire in `Generation::current`.
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

    /// Drops the counters that no manager watches, whenever the map has doubled since the last time. So the cost for each
    /// new key stays constant on average.
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
    fn an_uncertain_key_has_no_change_and_a_new_stamp() {
        let generations = Generations::default();
        let (a, b) = (generations.of("a"), generations.of("b"));
        let before = a.current();
        generations.mark_uncertain("a");
        let uncertain = a.current();
        assert!(
            uncertain != before && uncertain.has_same_changes(before) && !uncertain.is_next_after(before)
        );
        assert_eq!(b.current(), before);
        generations.bump("a");
        assert!(!a.current().has_same_changes(before) && !a.current().is_next_after(before));
        assert!(a.current().is_next_after(uncertain));
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
