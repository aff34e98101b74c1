use std::sync::atomic::{AtomicBool, Ordering};

use forge_core::StorageError;

/// What a manager has warned of, where saying so at each use would flood the log.
#[derive(Default)]
pub(crate) struct Reports {
    sealed_record: AtomicBool,
    unstorable_token: AtomicBool,
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
}
