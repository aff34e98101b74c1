use std::sync::atomic::{AtomicBool, Ordering};

use forge_core::{AuthenticationError, StorageError};

/// The warnings that a manager has logged already and that would flood the log at each use.
#[derive(Default)]
pub(crate) struct Reports {
    sealed_record: AtomicBool,
    unstorable_token: AtomicBool,
    refused_refresh: AtomicBool,
    unusable_token: AtomicBool,
}

impl Reports {
    /// The storage does not take our token, and would not take it at the next attempt either.
    pub(crate) fn warn_unstorable_token_once(&self, service: &str, error: &StorageError) {
        if !self.unstorable_token.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                %error,
                "this token cannot be stored; each process will fetch and keep a token of its own"
            );
        }
    }

    /// Warns once that the token endpoint refuses a live refresh token. Without the warning it would go
    /// unnoticed that each renewal needs a second token call, by the full grant.
    pub(crate) fn warn_refused_refresh_once(&self, service: &str, error: &AuthenticationError) {
        if !self.refused_refresh.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                %error,
                "the token endpoint refused a refresh for another reason than a dead refresh token; if it \
                 needs `scope` in refresh requests, set `scope_on_refresh`"
            );
        }
    }

    /// A refresh has succeeded: the next refusal is news.
    pub(crate) fn rearm_refused_refresh_warning(&self) {
        self.refused_refresh.store(false, Ordering::Relaxed);
    }

    /// The storage has an encrypted record under our key, and nothing here that could decrypt it.
    pub(crate) fn warn_sealed_record_once(&self, service: &str, key: &str) {
        if !self.sealed_record.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                key,
                "the record under this key is encrypted, but this manager has no encryption; treating it as a \
                 miss. Wrap this storage in `EncryptedTokenStorage`, or give the processes that encrypt \
                 another key prefix"
            );
        }
    }

    /// The storage has a token under our key that no header can carry.
    pub(crate) fn warn_unusable_token_once(&self, service: &str, key: &str) {
        if !self.unusable_token.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                key,
                "the token under this key is empty or not printable ASCII; treating it as a miss"
            );
        }
    }
}
