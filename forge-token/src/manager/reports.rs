use std::sync::atomic::{AtomicBool, Ordering};

use forge_core::{AuthenticationError, StorageError};

/// What a manager has warned of, where saying so at each use would flood the log.
#[derive(Default)]
pub(crate) struct Reports {
    sealed_record: AtomicBool,
    unstorable_token: AtomicBool,
    refused_refresh: AtomicBool,
    unusable_token: AtomicBool,
}

impl Reports {
    /// The storage does not take our token, and would not take it at the next attempt either.
    pub(crate) fn tell_of_unstorable_token(&self, service: &str, error: &StorageError) {
        if !self.unstorable_token.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                %error,
                "the token cannot be stored; each process fetches and uses one of its own"
            );
        }
    }

    /// The token endpoint refuses to refresh, though the refresh token is not dead. Each renewal costs the full
    /// grant then, and nobody would notice.
    pub(crate) fn tell_of_refused_refresh(&self, service: &str, error: &AuthenticationError) {
        if !self.refused_refresh.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                %error,
                "the token endpoint refuses to refresh, though the refresh token is not dead; each renewal \
                 uses the full grant. Some servers want `scope` in a refresh (`scope_on_refresh`)"
            );
        }
    }

    /// A refresh has succeeded: the next refusal is news.
    pub(crate) fn forget_refused_refresh(&self) {
        self.refused_refresh.store(false, Ordering::Relaxed);
    }

    /// The storage has an encrypted record under our key, and nothing here that could decrypt it.
    pub(crate) fn tell_of_sealed_record(&self, service: &str, key: &str) {
        if !self.sealed_record.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                key,
                "the token storage has an encrypted record here, and this manager decrypts none; going on as \
                 if there were no token. Let those that encrypt have a place of their own, or encrypt here, too"
            );
        }
    }

    /// The storage has a token under our key that no header can carry.
    pub(crate) fn tell_of_unusable_token(&self, service: &str, key: &str) {
        if !self.unusable_token.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service,
                key,
                "the token storage has a token here that is empty or not printable ASCII; going on as if there \
                 were none"
            );
        }
    }
}
