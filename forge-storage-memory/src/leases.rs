use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{CoolDown, Moment};
use tokio::sync::Notify;

/// What is remembered of each key that is wanted at present, or that must not be.
#[derive(Default)]
pub(crate) struct Leases {
    by_key: Mutex<HashMap<String, Desk>>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct Desk {
    /// Those who have a place here; the last one to leave takes the desk with it.
    places: usize,
    holder: Option<Holder>,
    freed: Arc<Notify>,
    cool_down: Option<Pause>,
}

struct Holder {
    number: u64,
    /// In monotonic milliseconds.
    since: i64,
}

struct Pause {
    cool_down: CoolDown,
    /// In monotonic milliseconds.
    until: i64,
}

/// Whoever holds a key for longer has a runtime that nobody drives any more: in a process nobody dies
/// alone.
const LONGEST_HOLD: i64 = 120_000;

impl Leases {
    /// A place in the queue for this key.
    pub(crate) fn queue(leases: &Arc<Self>, key: &str) -> Place {
        leases.by_key().entry(key.to_owned()).or_default().places += 1;
        let number = leases.numbers.fetch_add(1, Ordering::Relaxed);
        Place { number, key: key.to_owned(), leases: Arc::clone(leases) }
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<String, Desk>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping it gives back what was taken.
pub(crate) struct Place {
    number: u64,
    key: String,
    leases: Arc<Leases>,
}

impl Place {
    /// Tells this lease from all others.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Waits until the key is ours. The runtime is only needed to be woken: any will do.
    pub(crate) async fn take(&self, now: impl Fn() -> Moment) {
        loop {
            let freed = self.with_desk(|desk| Arc::clone(&desk.freed));
            let mut freed = std::pin::pin!(freed.notified());
            // Before looking, so that nothing is missed in between.
            freed.as_mut().enable();
            let now = now().monotonic_millis();
            let is_ours = self.with_desk(|desk| {
                let is_free = desk.holder.as_ref().is_none_or(|holder| {
                    holder.number == self.number || now.saturating_sub(holder.since) >= LONGEST_HOLD
                });
                if is_free {
                    desk.holder = Some(Holder { number: self.number, since: now });
                }
                is_free
            });
            if is_ours {
                return;
            }
            freed.await;
        }
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.with_desk(|desk| desk.holder.as_ref().is_some_and(|holder| holder.number == self.number))
    }

    pub(crate) fn give_back(&self) {
        self.with_desk(|desk| {
            if desk.holder.take_if(|holder| holder.number == self.number).is_some() {
                desk.freed.notify_waiters();
            }
        });
    }

    /// Does something unless the key is somebody else's, and keeps it so meanwhile. `true`: it is ours.
    pub(crate) fn behind_the_fence<R>(&self, act: impl FnOnce(bool) -> R) -> Option<R> {
        self.with_desk(|desk| match &desk.holder {
            None => Some(act(false)),
            Some(holder) if holder.number == self.number => Some(act(true)),
            Some(_) => None,
        })
    }

    /// The cool-down of the key, with what is left of it: nothing, if that is over.
    pub(crate) fn cool_down(&self, now: Moment) -> Option<CoolDown> {
        self.with_desk(|desk| {
            let pause = desk.cool_down.as_ref()?;
            let left = u64::try_from(pause.until.saturating_sub(now.monotonic_millis())).unwrap_or(0);
            Some(pause.cool_down.with_left(Duration::from_millis(left)))
        })
    }

    pub(crate) fn begin_cool_down(&self, cool_down: CoolDown, now: Moment) {
        let left = i64::try_from(cool_down.left().as_millis()).unwrap_or(i64::MAX);
        let until = now.monotonic_millis().saturating_add(left);
        self.with_desk(|desk| desk.cool_down = Some(Pause { cool_down, until }));
    }

    pub(crate) fn end_cool_down(&self) {
        self.with_desk(|desk| desk.cool_down = None);
    }

    fn with_desk<R>(&self, act: impl FnOnce(&mut Desk) -> R) -> R {
        act(self.leases.by_key().entry(self.key.clone()).or_default())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back();
        let mut by_key = self.leases.by_key();
        let Some(desk) = by_key.get_mut(&self.key) else { return };
        desk.places = desk.places.saturating_sub(1);
        if desk.places == 0 && desk.cool_down.is_none() {
            by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Moment {
        Moment::from_millis(0, 0)
    }

    #[tokio::test]
    async fn inv01_one_at_a_time_per_key_and_no_trace_afterwards() {
        let leases = Arc::new(Leases::default());
        let running = Arc::new(Mutex::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..100 {
            let (leases, running) = (Arc::clone(&leases), Arc::clone(&running));
            tasks.spawn(async move {
                let place = Leases::queue(&leases, "key");
                place.take(start).await;
                *running.lock().unwrap() += 1;
                for _ in 0..i % 3 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(*running.lock().unwrap(), 1);
                *running.lock().unwrap() -= 1;
            });
        }
        tasks.join_all().await;
        assert!(leases.by_key().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_no_trace() {
        let leases = Arc::new(Leases::default());
        let first = Leases::queue(&leases, "key");
        first.take(start).await;
        let second = Leases::queue(&leases, "key");
        assert!(tokio::time::timeout(Duration::from_millis(1), second.take(start)).await.is_err());
        drop(first);
        drop(second);
        assert!(leases.by_key().is_empty());
    }

    #[tokio::test]
    async fn inv03_who_holds_a_key_for_ever_does_not() {
        let leases = Arc::new(Leases::default());
        let (stuck, next) = (Leases::queue(&leases, "key"), Leases::queue(&leases, "key"));
        stuck.take(start).await;
        next.take(|| Moment::from_millis(0, LONGEST_HOLD)).await;
        assert!(next.is_taken() && !stuck.is_taken());
        assert!(stuck.behind_the_fence(|_| ()).is_none());
        drop(stuck);
        assert!(next.is_taken());
    }
}
