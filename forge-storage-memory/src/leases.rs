use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forge_core::{ClockReading, CoolDown};
use tokio::sync::Notify;

use crate::cool_downs::CoolDowns;

/// The leases of this process on keys, and the cool-downs of keys.
pub(crate) struct Leases {
    state: Mutex<State>,
    numbers: AtomicU64,
}

struct State {
    keys: HashMap<String, KeyState>,
    cool_downs: CoolDowns,
}

/// The state of a key with at least one lease.
#[derive(Default)]
struct KeyState {
    /// The number of leases on this key, held or not. The drop of the last one removes the state.
    handles: usize,
    holder: Option<Holder>,
    /// Wakes the waiters when the key is free or its epoch has changed.
    changed: Arc<Notify>,
    /// The number of invalidations of the key since this state was created.
    epoch: u64,
}

/// The lease that holds a key.
struct Holder {
    number: u64,
    /// When it acquired the key, in monotonic milliseconds.
    since: i64,
}

/// The maximum time for which a lease holds a key, in monotonic milliseconds. Then another lease takes the key.
///
/// Crash: a holder cannot crash without its process, but its runtime may stop running tasks, and then the holder never
/// releases the key. Two minutes are longer than any fetch with the default time-outs.
const MAX_HOLD_MILLIS: i64 = 120_000;

impl Leases {
    /// Limits the cool-downs to this number of keys. The number of key states needs no limit, since each has a lease.
    pub(crate) fn with_capacity(keys: u64) -> Self {
        let state = State { keys: HashMap::new(), cool_downs: CoolDowns::with_capacity(keys) };
        Self { state: Mutex::new(state), numbers: AtomicU64::new(0) }
    }

    /// A lease on this key that holds nothing yet.
    pub(crate) fn handle(leases: &Arc<Self>, key: &str) -> LeaseHandle {
        leases.state().keys.entry(key.to_owned()).or_default().handles += 1;
        let number = leases.numbers.fetch_add(1, Ordering::Relaxed);
        LeaseHandle { number, key: key.to_owned(), epoch: None, leases: Arc::clone(leases) }
    }

    /// Deletes the token of this key, and begins a new epoch. Race: a fetch that began before the deletion could store its
    /// token after it, so both are one step under the lock. The cool-down stays, since the deletion of a token does not
    /// repair the token endpoint.
    pub(crate) fn invalidate_key(&self, key: &str, delete: impl FnOnce()) {
        let mut state = self.state();
        delete();
        state.keys.get_mut(key).map(KeyState::begin_epoch);
    }

    /// As [`invalidate_key`](Self::invalidate_key), for all keys.
    pub(crate) fn invalidate_all_keys(&self, delete: impl FnOnce()) {
        let mut state = self.state();
        delete();
        state.keys.values_mut().for_each(KeyState::begin_epoch);
    }

    /// The number of keys with a lease, plus the number of keys with a cool-down.
    #[cfg(test)]
    pub(crate) fn known_keys(&self) -> usize {
        let state = self.state();
        state.keys.len() + state.cool_downs.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyState {
    fn begin_epoch(&mut self) {
        self.epoch += 1;
        // A waiter has not begun to fetch. Wake it, so that it reads the new epoch and may store its token.
        self.changed.notify_waiters();
    }
}

/// A lease on one key. Dropping it gives the key back.
pub(crate) struct LeaseHandle {
    number: u64,
    key: String,
    /// The key's epoch when `acquire` last read it. The fetch begins after that, so an unchanged epoch proves that nothing
    /// has invalidated the key since. `None`: `acquire` was not called.
    epoch: Option<u64>,
    leases: Arc<Leases>,
}

impl LeaseHandle {
    /// The number of this lease. No other lease of this storage has the same.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Waits until this lease holds the key. This needs no timer, so it works in any runtime.
    pub(crate) async fn acquire(&mut self, now: impl Fn() -> ClockReading) {
        loop {
            let changed = self.with_key_state(|state| Arc::clone(&state.changed));
            let mut changed = std::pin::pin!(changed.notified());
            // Race: register before looking, so that a release in between wakes this waiter.
            changed.as_mut().enable();
            let now = now().monotonic_millis();
            let (is_ours, epoch) = self.with_key_state(|state| {
                let is_free = state.holder.as_ref().is_none_or(|holder| {
                    holder.number == self.number || now.saturating_sub(holder.since) >= MAX_HOLD_MILLIS
                });
                if is_free {
                    state.holder = Some(Holder { number: self.number, since: now });
                }
                (is_free, state.epoch)
            });
            self.epoch = Some(epoch);
            if is_ours {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.with_key_state(|state| state.holder.as_ref().is_some_and(|holder| holder.number == self.number))
    }

    pub(crate) fn release(&self) {
        self.with_key_state(|state| {
            if state.holder.take_if(|holder| holder.number == self.number).is_some() {
                state.changed.notify_waiters();
            }
        });
    }

    /// Calls `act` under the lock, unless another lease holds the key or the key was invalidated since `acquire` read its
    /// epoch. The lock prevents both during `act`. `act` gets `true` if this lease holds the key, and `false` if no lease
    /// does.
    pub(crate) fn with_fence<R>(&self, act: impl FnOnce(bool) -> R) -> Option<R> {
        self.with_key_state(|state| {
            if self.epoch.is_some_and(|epoch| epoch != state.epoch) {
                return None;
            }
            match &state.holder {
                None => Some(act(false)),
                Some(holder) if holder.number == self.number => Some(act(true)),
                Some(_) => None,
            }
        })
    }

    /// The cool-down of the key with its remaining time, which is zero once it is over.
    pub(crate) fn cool_down(&self, now: ClockReading) -> Option<CoolDown> {
        self.leases.state().cool_downs.get(&self.key, now)
    }

    pub(crate) fn begin_cool_down(&self, cool_down: CoolDown, now: ClockReading) {
        self.leases.state().cool_downs.begin(&self.key, cool_down, now);
    }

    pub(crate) fn end_cool_down(&self) {
        self.leases.state().cool_downs.end(&self.key);
    }

    fn with_key_state<R>(&self, act: impl FnOnce(&mut KeyState) -> R) -> R {
        act(self.leases.state().keys.entry(self.key.clone()).or_default())
    }
}

impl Drop for LeaseHandle {
    fn drop(&mut self) {
        self.release();
        let mut state = self.leases.state();
        let Some(key) = state.keys.get_mut(&self.key) else { return };
        key.handles = key.handles.saturating_sub(1);
        if key.handles == 0 {
            state.keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn start() -> ClockReading {
        ClockReading::from_millis(0, 0)
    }

    #[tokio::test]
    async fn inv01_one_at_a_time_per_key_and_no_trace_afterwards() {
        let leases = Arc::new(Leases::with_capacity(100));
        let running = Arc::new(Mutex::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..100 {
            let (leases, running) = (Arc::clone(&leases), Arc::clone(&running));
            tasks.spawn(async move {
                let mut handle = Leases::handle(&leases, "key");
                handle.acquire(start).await;
                *running.lock().unwrap() += 1;
                for _ in 0..i % 3 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(*running.lock().unwrap(), 1);
                *running.lock().unwrap() -= 1;
            });
        }
        tasks.join_all().await;
        assert_eq!(leases.known_keys(), 0);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_no_trace() {
        let leases = Arc::new(Leases::with_capacity(100));
        let mut first = Leases::handle(&leases, "key");
        first.acquire(start).await;
        let mut second = Leases::handle(&leases, "key");
        assert!(tokio::time::timeout(Duration::from_millis(1), second.acquire(start)).await.is_err());
        drop(first);
        drop(second);
        assert_eq!(leases.known_keys(), 0);
    }

    #[tokio::test]
    async fn inv03_who_holds_a_key_for_ever_does_not() {
        let leases = Arc::new(Leases::with_capacity(100));
        let (mut stuck, mut next) = (Leases::handle(&leases, "key"), Leases::handle(&leases, "key"));
        stuck.acquire(start).await;
        next.acquire(|| ClockReading::from_millis(0, MAX_HOLD_MILLIS)).await;
        assert!(next.is_held() && !stuck.is_held());
        assert!(stuck.with_fence(|_| ()).is_none());
        drop(stuck);
        assert!(next.is_held());
    }
}
