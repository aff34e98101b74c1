use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{CoolDown, Moment};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// What is remembered of each key that is wanted at present, or that must not be.
#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<String, Desk>>);

#[derive(Default)]
struct Desk {
    lock: Arc<AsyncMutex<()>>,
    cool_down: Option<Pause>,
}

struct Pause {
    cool_down: CoolDown,
    /// In monotonic milliseconds.
    until: i64,
}

impl Leases {
    /// A place in the queue for this key.
    pub(crate) fn queue(leases: &Arc<Self>, key: &str) -> Place {
        let lock = Arc::clone(&leases.by_key().entry(key.to_owned()).or_default().lock);
        Place { lock, guard: None, key: key.to_owned(), leases: Arc::clone(leases) }
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<String, Desk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping it gives back what was taken.
pub(crate) struct Place {
    lock: Arc<AsyncMutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
    key: String,
    leases: Arc<Leases>,
}

/// While this lives, nobody else takes the key.
pub(crate) enum Fence {
    Ours,
    Nobodys(#[expect(dead_code, reason = "it is held")] OwnedMutexGuard<()>),
}

impl Place {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Waits until the key is ours. The runtime is only needed to be woken: any will do.
    pub(crate) async fn take(&mut self) {
        if self.guard.is_none() {
            self.guard = Some(Arc::clone(&self.lock).lock_owned().await);
        }
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.guard.is_some()
    }

    pub(crate) fn give_back(&mut self) {
        self.guard = None;
    }

    /// Keeps the key as it is: ours, or nobody's. `None`: it is somebody else's.
    pub(crate) fn fence(&self) -> Option<Fence> {
        if self.is_taken() {
            return Some(Fence::Ours);
        }
        Arc::clone(&self.lock).try_lock_owned().ok().map(Fence::Nobodys)
    }

    /// The cool-down of the key, with what is left of it: nothing, if that is over.
    pub(crate) fn cool_down(&self, now: Moment) -> Option<CoolDown> {
        let by_key = self.leases.by_key();
        let pause = by_key.get(&self.key)?.cool_down.as_ref()?;
        let left = u64::try_from(pause.until.saturating_sub(now.monotonic_millis())).unwrap_or(0);
        Some(pause.cool_down.with_left(Duration::from_millis(left)))
    }

    pub(crate) fn begin_cool_down(&self, cool_down: CoolDown, now: Moment) {
        let left = i64::try_from(cool_down.left().as_millis()).unwrap_or(i64::MAX);
        let until = now.monotonic_millis().saturating_add(left);
        self.leases.by_key().entry(self.key.clone()).or_default().cool_down =
            Some(Pause { cool_down, until });
    }

    pub(crate) fn end_cool_down(&self) {
        if let Some(desk) = self.leases.by_key().get_mut(&self.key) {
            desk.cool_down = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_key = self.leases.by_key();
        self.guard = None;
        // The map's pointer and ours: nobody else is here, and nobody can come meanwhile.
        let is_idle = |desk: &Desk| desk.cool_down.is_none() && Arc::strong_count(&desk.lock) <= 2;
        if by_key.get(&self.key).is_some_and(is_idle) {
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
                let mut place = Leases::queue(&leases, "key");
                place.take().await;
                *running.lock().unwrap() += 1;
                for _ in 0..i % 3 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(*running.lock().unwrap(), 1);
                *running.lock().unwrap() -= 1;
            });
        }
        tasks.join_all().await;
        assert!(leases.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_no_trace() {
        let leases = Arc::new(Leases::default());
        let mut first = Leases::queue(&leases, "key");
        first.take().await;
        let mut second = Leases::queue(&leases, "key");
        assert!(tokio::time::timeout(Duration::from_millis(1), second.take()).await.is_err());
        drop(first);
        drop(second);
        assert!(leases.0.lock().unwrap().is_empty());
    }
}
