//! The hook that persists a rotated refresh token, and the limits that protect the flight which awaits it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use forge_core::TokenData;

use super::catch_panic::catch_panic;
use crate::rt::Deadline;

/// Enough for a write to a database. Callers wait meanwhile.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Callback = Box<dyn Fn(TokenData) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A hook of the user's. Its time is bounded, and its panics do not end the flight.
pub(crate) struct RefreshTokenHook {
    callback: Callback,
    timeout: Duration,
}

thread_local! {
    /// The manager whose hook this thread is polling, as an address; 0: none.
    static POLLED_FOR: Cell<usize> = const { Cell::new(0) };
}

impl RefreshTokenHook {
    pub(super) fn new(callback: Callback, timeout: Duration) -> Self {
        Self { callback, timeout }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Awaits the hook. The error says why the hook did not complete; the caller keeps the token in any case.
    pub(super) async fn call(&self, manager: usize, token: TokenData) -> Result<(), &'static str> {
        // Panic: the closure is called inside the future, so that its own panic is caught as well.
        let running = async { (self.callback)(token).await };
        let marked = marked_while_polled(manager, running);
        match Deadline::after(self.timeout).bound(catch_panic(marked)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_panicked)) => Err("the hook panicked"),
            Err(_) => Err("the hook exceeded on_refresh_token_timeout"),
        }
    }
}

/// Whether this thread is polling the hook of this manager. Deadlock: the flight awaits the hook, so a hook
/// that waits for the flight never ends. This does not recognise a task that the hook spawns and awaits;
/// there the hook's time-out ends the deadlock.
pub(super) fn is_called_by_hook_of(manager: usize) -> bool {
    POLLED_FOR.with(Cell::get) == manager
}

async fn marked_while_polled<F: Future>(manager: usize, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _restore = RestoreGuard(POLLED_FOR.with(|polled| polled.replace(manager)));
        future.as_mut().poll(context)
    })
    .await
}

/// Puts the address back that was there before, also when the hook panics.
struct RestoreGuard(usize);

impl Drop for RestoreGuard {
    fn drop(&mut self) {
        POLLED_FOR.with(|polled| polled.set(self.0));
    }
}
