//! Servers that take seconds to start. All tests of a process share them, one after the other.

use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, MutexGuard};

pub(crate) struct SharedServer<T> {
    /// The servers end with the last test that waits for its turn. A static that owned them would leave them
    /// behind.
    servers: Mutex<Weak<T>>,
    turn: Mutex<()>,
}

impl<T> SharedServer<T> {
    pub(crate) const fn new() -> Self {
        Self { servers: Mutex::const_new(Weak::new()), turn: Mutex::const_new(()) }
    }

    /// The servers. They stay for as long as a caller holds them.
    pub(crate) async fn servers(&self, start: impl AsyncFnOnce() -> T) -> Arc<T> {
        let mut servers = self.servers.lock().await;
        if let Some(servers) = servers.upgrade() {
            return servers;
        }
        let started = Arc::new(start().await);
        *servers = Arc::downgrade(&started);
        started
    }

    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}
