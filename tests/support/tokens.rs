use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::server::lock;

/// The tokens of an authorization server, which its APIs know too. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    /// Every access token that the server ever issued, with its end, if it has one.
    access: HashMap<String, Option<Instant>>,
    /// The refresh tokens that are good.
    refresh: HashSet<String>,
}

impl Tokens {
    pub(crate) fn issue(&self, lifetime: Option<Duration>) -> String {
        let token = random();
        let end = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        lock(&self.0).access.insert(token.clone(), end);
        token
    }

    pub(crate) fn was_issued(&self, token: &str) -> bool {
        lock(&self.0).access.contains_key(token)
    }

    /// Every access token that the server ever issued, in no order.
    pub(crate) fn all_issued(&self) -> Vec<String> {
        lock(&self.0).access.keys().cloned().collect()
    }

    pub(crate) fn is_valid(&self, token: &str) -> bool {
        lock(&self.0).access.get(token).is_some_and(|end| end.is_none_or(|end| Instant::now() < end))
    }

    pub(crate) fn revoke_all(&self) {
        let now = Instant::now();
        for end in lock(&self.0).access.values_mut() {
            *end = Some(end.map_or(now, |end| end.min(now)));
        }
    }

    pub(crate) fn issue_refresh_token(&self) -> String {
        let token = random();
        lock(&self.0).refresh.insert(token.clone());
        token
    }

    /// Looks a refresh token up, and uses it up if it rotates. Then only one caller gets true.
    pub(crate) fn accept_refresh_token(&self, token: &str, rotates: bool) -> bool {
        let refresh = &mut lock(&self.0).refresh;
        if rotates { refresh.remove(token) } else { refresh.contains(token) }
    }

    pub(crate) fn revoke_refresh_tokens(&self) {
        lock(&self.0).refresh.clear();
    }
}

/// 128 random bits: no test guesses them by accident.
pub(crate) fn random() -> String {
    let keys = RandomState::new();
    format!("{:016x}{:016x}", keys.hash_one(0), keys.hash_one(1))
}
