use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use forge_core::{ClockReading, CoolDown};

/// How long the storage remembers the number of failures after the last cool-down. A failure within this time counts as
/// one more in a row; a later one begins a new count.
pub(crate) const FAILURE_MEMORY: Duration = Duration::from_secs(300);

/// The cool-downs of keys whose last fetch has failed. Their number is limited, and each is forgotten after a time.
pub(crate) struct CoolDowns {
    by_key: HashMap<Arc<str>, Entry>,
    /// The same keys in the order in which they are forgotten, so that finding the next one is cheap. The number makes
    /// entries of the same moment distinct.
    by_end: BTreeMap<(i64, u64), Arc<str>>,
    number: u64,
    capacity: usize,
}

struct Entry {
    cool_down: CoolDown,
    /// The end of the cool-down, in monotonic milliseconds.
    until: i64,
    /// Its key in `by_end`.
    end: (i64, u64),
}

impl CoolDowns {
    pub(crate) fn with_capacity(keys: u64) -> Self {
        let capacity = usize::try_from(keys).unwrap_or(usize::MAX);
        Self { by_key: HashMap::new(), by_end: BTreeMap::new(), number: 0, capacity }
    }

    /// The cool-down of a key with its remaining time, which is zero once it is over.
    pub(crate) fn get(&mut self, key: &str, now: ClockReading) -> Option<CoolDown> {
        self.forget_ended(now);
        let pause = self.by_key.get(key)?;
        let left = u64::try_from(pause.until.saturating_sub(now.monotonic_millis())).unwrap_or(0);
        Some(pause.cool_down.with_left(Duration::from_millis(left)))
    }

    /// Begins a cool-down. If there are too many, this forgets the one that is forgotten first anyway.
    pub(crate) fn begin(&mut self, key: &str, cool_down: CoolDown, now: ClockReading) {
        self.end(key);
        self.forget_ended(now);
        let until = now.monotonic_millis().saturating_add(millis(cool_down.left()));
        let end = (until.saturating_add(millis(FAILURE_MEMORY)), self.number);
        self.number += 1;
        let key: Arc<str> = key.into();
        self.by_end.insert(end, Arc::clone(&key));
        self.by_key.insert(key, Entry { cool_down, until, end });
        if self.by_key.len() > self.capacity {
            self.forget_first();
        }
    }

    pub(crate) fn end(&mut self, key: &str) {
        if let Some(pause) = self.by_key.remove(key) {
            self.by_end.remove(&pause.end);
        }
    }

    fn forget_ended(&mut self, now: ClockReading) {
        while self.by_end.first_key_value().is_some_and(|((end, _), _)| *end <= now.monotonic_millis()) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.by_end.pop_first() {
            self.by_key.remove(&key);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.by_key.len(), self.by_end.len());
        self.by_key.len()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
