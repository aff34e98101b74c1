//! The lock of the breaker. `tests/interleavings` compiles the breaker over another module with the same contents, in
//! which shuttle chooses the thread that runs next.

use std::sync::PoisonError;

/// A lock that is never held across an await.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
