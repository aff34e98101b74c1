use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The nonces that servers sent last, one for each origin (RFC 9449 8.2).
///
/// A token endpoint and an API have different nonces even at one origin, so use one store for each. A store keeps at most
/// 1,000 origins. Clones share the nonces.
///
/// ```
/// use requestforge::auth::NonceStore;
///
/// let nonces = NonceStore::new();
/// nonces.set("https://api.example.com", "n-1");
/// assert_eq!(nonces.get("https://api.example.com").as_deref(), Some("n-1"));
/// assert_eq!(nonces.get("https://example.org"), None);
/// ```
#[derive(Clone, Default)]
pub struct NonceStore(Arc<Mutex<HashMap<String, Arc<str>>>>);

/// More origins than a client talks to. Attack: a server that redirects to ever new origins would fill the memory.
const MAX_ORIGINS: usize = 1_000;

impl NonceStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The nonce that this origin sent last.
    #[must_use]
    pub fn get(&self, origin: &str) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }

    /// Stores the nonce that this origin has sent, and drops the one before.
    pub fn set(&self, origin: &str, nonce: &str) {
        let mut nonces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = nonces.get_mut(origin) {
            *known = nonce.into();
            return;
        }
        // Clearing is harmless: an origin whose nonce is dropped sends a new one with its next challenge.
        if nonces.len() >= MAX_ORIGINS {
            nonces.clear();
        }
        nonces.insert(origin.to_owned(), nonce.into());
    }
}

impl fmt::Debug for NonceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_has_its_own_last_nonce_and_memory_is_bounded() {
        let nonces = NonceStore::new();
        nonces.set("https://a.example", "1");
        nonces.set("https://b.example", "2");
        nonces.clone().set("https://a.example", "3");
        assert_eq!(nonces.get("https://a.example").as_deref(), Some("3"));
        assert_eq!(nonces.get("https://b.example").as_deref(), Some("2"));
        for number in 0..=MAX_ORIGINS {
            nonces.set(&format!("https://{number}.example"), "n");
            assert!(nonces.0.lock().unwrap().len() <= MAX_ORIGINS);
        }
        assert_eq!(nonces.get("https://1000.example").as_deref(), Some("n"));
    }
}
