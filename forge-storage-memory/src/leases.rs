use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use forge_core::TokenLease;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// One lock per key that is wanted at present.
#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<String, Arc<AsyncMutex<()>>>>);

impl Leases {
    /// Waits until the key is ours. The runtime is only needed to be woken: any will do.
    pub(crate) async fn acquire(leases: &Arc<Self>, key: &str) -> Lease {
        let lock = {
            let mut by_key = leases.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_key.entry(key.to_owned()).or_default())
        };
        let guard = lock.lock_owned().await;
        Lease { guard: Some(guard), key: key.to_owned(), leases: Arc::clone(leases) }
    }
}

pub(crate) struct Lease {
    guard: Option<OwnedMutexGuard<()>>,
    key: String,
    leases: Arc<Leases>,
}

impl TokenLease for Lease {}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut by_key = self.leases.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // Whoever waits holds a pointer too, and nobody can get one meanwhile.
        if by_key.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn inv01_one_at_a_time_per_key_and_no_trace_afterwards() {
        let leases = Arc::new(Leases::default());
        let running = Arc::new(Mutex::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..100 {
            let (leases, running) = (Arc::clone(&leases), Arc::clone(&running));
            tasks.spawn(async move {
                let lease = Leases::acquire(&leases, "key").await;
                *running.lock().unwrap() += 1;
                for _ in 0..i % 3 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(*running.lock().unwrap(), 1);
                *running.lock().unwrap() -= 1;
                drop(lease);
            });
        }
        tasks.join_all().await;
        assert!(leases.0.lock().unwrap().is_empty());
    }
}
