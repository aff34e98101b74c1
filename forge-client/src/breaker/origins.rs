use std::collections::BTreeMap;
use std::sync::Arc;

use crate::origin::{RequestUrl, origin_text};
use crate::rt::Mutex;

use super::circuit::Circuit;
use super::window::FailureRate;

/// The circuits of all origins that were used lately. Speed: most programs have a few origins, which an ordered map
/// finds sooner than a hash map.
#[derive(Debug, Default)]
pub(super) struct Origins(Mutex<BTreeMap<Arc<str>, StoredEntry>>);

/// An origin with its circuit.
#[derive(Debug)]
pub(super) struct Entry {
    /// As errors and logs show it.
    pub(super) origin: Arc<str>,
    pub(super) circuit: Mutex<Circuit>,
}

#[derive(Debug)]
struct StoredEntry {
    entry: Arc<Entry>,
    last_used: i64,
}

/// The maximum number of circuits. Attack: redirects may lead to any number of origins, and would fill the memory.
const MAX_ORIGINS: usize = 1_000;

impl Origins {
    pub(super) fn find(&self, origin: &str) -> Option<Arc<Entry>> {
        self.0.lock().get(origin).map(|used| Arc::clone(&used.entry))
    }

    /// All entries. Order: this releases the map's lock before the caller takes the lock of any circuit.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.0.lock().values().map(|used| Arc::clone(&used.entry)).collect()
    }

    /// The circuit of a URL's origin, which is closed if it is a new one.
    pub(super) fn of(&self, url: &RequestUrl, now: i64, failure_rate: Option<FailureRate>) -> Arc<Entry> {
        let origin = origin_text(url);
        let mut origins = self.0.lock();
        if let Some(used) = origins.get_mut(origin) {
            used.last_used = now;
            return Arc::clone(&used.entry);
        }
        if origins.len() >= MAX_ORIGINS {
            let longest_ago = origins.iter().min_by_key(|(_, used)| used.last_used);
            if let Some(origin) = longest_ago.map(|(origin, _)| Arc::clone(origin)) {
                origins.remove(&origin);
            }
        }
        let circuit = Mutex::new(Circuit::new(failure_rate));
        let entry = Arc::new(Entry { origin: url.shown_origin().into(), circuit });
        origins.insert(origin.into(), StoredEntry { entry: Arc::clone(&entry), last_used: now });
        entry
    }
}
