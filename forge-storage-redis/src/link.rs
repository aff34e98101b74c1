//! The connection: one for commands and announcements together, with a deadline on each command and a
//! breaker above. Whoever finds it down is told so at once, and a task of its own mends it.

mod connect;
mod keeper;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_core::StorageError;
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, RedisError, ScriptInvocation};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::announcements::Announcements;

pub(crate) struct Link {
    shared: Arc<Shared>,
    keeper: Mutex<Option<AbortHandle>>,
}

/// What the link and its keeper have in common.
struct Shared {
    client: Client,
    limits: Limits,
    announcements: Arc<Announcements>,
    state: watch::Sender<State>,
    /// A command was not answered in time.
    suspected: Notify,
    /// A command's answer has shown that the connection is of no use.
    condemned: Notify,
    was_up: AtomicBool,
    /// Of the keeper whose word counts.
    keeper_number: AtomicU64,
    last_beat: Mutex<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a command, with waiting for the connection.
    pub(crate) command: Duration,
    /// For an attempt to connect.
    pub(crate) connect: Duration,
}

#[derive(Clone)]
enum State {
    /// No task keeps the connection: none was needed so far, or its runtime has ended.
    Unkept,
    Connecting,
    Up(Up),
    Down(StorageError),
}

#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) connection: MultiplexedConnection,
    number: u64,
}

impl Link {
    /// Asks nobody yet.
    pub(crate) fn new(client: Client, limits: Limits, announcements: Arc<Announcements>) -> Self {
        let shared = Shared {
            client,
            limits,
            announcements,
            state: watch::Sender::new(State::Unkept),
            suspected: Notify::new(),
            condemned: Notify::new(),
            was_up: AtomicBool::new(false),
            keeper_number: AtomicU64::new(0),
            last_beat: Mutex::new(Instant::now()),
        };
        Self { shared: Arc::new(shared), keeper: Mutex::new(None) }
    }

    /// Calls a script.
    ///
    /// # Errors
    ///
    /// The server refused, or did not answer in time; then nobody knows whether it did what it was asked.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StorageError> {
        let begun = tokio::time::Instant::now();
        let up = self.up().await?;
        self.call_on(&up, begun, script).await
    }

    /// As [`call`](Self::call), on a connection that was given, with a deadline that counts from then.
    pub(crate) async fn call_on<T: FromRedisValue>(
        &self,
        up: &Up,
        begun: tokio::time::Instant,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StorageError> {
        let mut connection = up.connection.clone();
        let answer = script.invoke_async(&mut connection);
        match tokio::time::timeout_at(begun + self.shared.limits.command, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if connect::is_fatal(&error) {
                    self.shared.condemn(up.number, &error);
                }
                Err(connect::explain(&error))
            }
            Err(_) => Err(self.shared.suspect(up.number)),
        }
    }

    /// The connection, if it is up or comes up within the deadline of a command.
    pub(crate) async fn up(&self) -> Result<Up, StorageError> {
        let deadline = tokio::time::Instant::now() + self.shared.limits.command;
        self.ensure_kept()?;
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting | State::Unkept));
        match tokio::time::timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(up) => Ok(up.clone()),
                State::Down(error) => Err(error.clone()),
                State::Connecting | State::Unkept => Err(StorageError::new("not connected")),
            },
            Ok(Err(_)) => Err(StorageError::new("not connected")),
            Err(_) => Err(self.shared.is_late()),
        }
    }

    /// Starts a keeper where there is none, or where its runtime is not driven any more.
    fn ensure_kept(&self) -> Result<(), StorageError> {
        if self.shared.is_kept() {
            return Ok(());
        }
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.is_kept() {
            return Ok(());
        }
        let runtime =
            Handle::try_current().map_err(|_| StorageError::new("call this from within a tokio runtime"))?;
        let number = self.shared.keeper_number.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.beat();
        self.shared.state.send_replace(State::Connecting);
        let task = runtime.spawn(keeper::keep(Arc::clone(&self.shared), number));
        if let Some(before) = keeper.replace(task.abort_handle()) {
            before.abort();
        }
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper.take() {
            keeper.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.shared.state.borrow() {
            State::Unkept => "not used yet",
            State::Connecting => "connecting",
            State::Up(_) => "up",
            State::Down(_) => "down",
        };
        // Of the address only what cannot hold a password.
        let address = self.shared.client.get_connection_info().addr();
        f.debug_struct("Link").field("address", &address.to_string()).field("state", &state).finish()
    }
}

/// A keeper that mends a connection is never silent for longer.
const SILENCE: Duration = Duration::from_secs(15);

impl Shared {
    fn is_kept(&self) -> bool {
        match &*self.state.borrow() {
            State::Unkept => false,
            State::Up(_) => true,
            State::Connecting | State::Down(_) => {
                self.last_beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < SILENCE
            }
        }
    }

    fn beat(&self) {
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What the keeper with this number says, unless there is another one by now. Says whether it was down.
    fn report(&self, keeper: u64, state: State) -> bool {
        self.keeper_number.load(Ordering::Relaxed) == keeper
            && matches!(self.state.send_replace(state), State::Down(_))
    }

    /// The breaker opens: from now on nobody waits.
    fn suspect(&self, connection: u64) -> StorageError {
        let error = StorageError::new("Redis did not answer in time");
        if self.open(connection, &error) {
            self.suspected.notify_one();
        }
        error
    }

    fn condemn(&self, connection: u64, error: &RedisError) {
        if self.open(connection, &connect::explain(error)) {
            self.condemned.notify_one();
        }
    }

    fn open(&self, connection: u64, error: &StorageError) -> bool {
        let is_meant = |state: &State| matches!(state, State::Up(up) if up.number == connection);
        let opened = self.state.send_if_modified(|state| {
            let is_meant = is_meant(state);
            if is_meant {
                *state = State::Down(error.clone());
            }
            is_meant
        });
        if opened {
            tracing::warn!(%error, "going on without Redis until it answers again");
        }
        opened
    }

    /// The keeper goes on trying, but callers have waited enough.
    fn is_late(&self) -> StorageError {
        let error = StorageError::new("no connection to Redis in time");
        self.state.send_if_modified(|state| {
            let is_connecting = matches!(state, State::Connecting);
            if is_connecting {
                *state = State::Down(error.clone());
            }
            is_connecting
        });
        error
    }
}
