//! The connection: one for commands and announcements together, with a deadline on each command and a
//! breaker above. Whoever finds it down is told so at once, and a task of its own mends it.

mod asking;
mod connect;
mod keeper;
mod pace;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::{Clock, StorageError};
use redis::{ConnectionAddr, FromRedisValue, ScriptInvocation};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::announcements::Announcements;
use crate::dialer::{Connection, Dialer};
use crate::explain::explain;
use crate::locate::Locate;
use crate::scripts::Scripts;
use crate::server_clock::ServerClock;
use asking::call_asking;
use pace::Pace;
pub(crate) use refusal::{NAMELESS, Refusal};

pub(crate) struct Link {
    shared: Arc<Shared>,
    keeper: Mutex<Option<AbortHandle>>,
}

/// What all links of a storage have in common.
pub(crate) struct Common {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) limits: Limits,
    pub(crate) announcements: Arc<Announcements>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the link and its keeper have in common.
struct Shared {
    common: Arc<Common>,
    locate: Arc<dyn Locate>,
    state: watch::Sender<State>,
    pace: Pace,
    was_up: AtomicBool,
    /// Of the keeper whose word counts.
    keeper_number: AtomicU64,
    /// The process in which that keeper runs.
    keeper_process: AtomicU32,
    last_beat: Mutex<std::time::Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a command, with waiting for the connection.
    pub(crate) command: Duration,
    /// For an attempt to connect.
    pub(crate) connect: Duration,
}

impl Limits {
    /// What takes longer is slow, though it may be in time.
    fn slow(self) -> Duration {
        self.command / 4
    }

    /// For asking around where to connect to, as a part of such an attempt: what comes of it is to be heard of.
    pub(crate) fn poll(self) -> Duration {
        self.connect.mul_f64(0.9)
    }

    /// A keeper that mends a connection is never silent for longer.
    fn silence(self) -> Duration {
        (self.connect * 3).max(Duration::from_secs(15))
    }
}

/// The times from which a caller's wait counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// The begin of the call. Its deadline counts from here.
    pub(crate) begun: Instant,
    /// The begin of the wait for this link. The time that other links of a cluster took before does not make
    /// this link's server slow.
    pub(crate) here: Instant,
}

impl Wait {
    /// From now on.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, here: now }
    }

    /// The same call, now waiting for another link.
    pub(crate) fn go_on_elsewhere(self) -> Self {
        Self { here: Instant::now(), ..self }
    }
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
    pub(crate) connection: Connection,
    /// Of the server at its other end.
    pub(crate) clock: Arc<ServerClock>,
    address: ConnectionAddr,
    /// How long the server took to answer when it was connected to.
    round_trip: Duration,
    signals: Arc<Signals>,
}

/// What the keeper is told of one connection.
#[derive(Default)]
struct Signals {
    /// It has ended.
    lost: Notify,
    /// A command was not answered in time, or too many were answered slowly.
    suspected: Notify,
    /// A command's answer has shown that it is of no use.
    condemned: Notify,
}

impl Link {
    /// Asks nobody yet.
    pub(crate) fn new(common: Arc<Common>, locate: Arc<dyn Locate>) -> Self {
        let limits = common.limits;
        let shared = Shared {
            common,
            locate,
            state: watch::Sender::new(State::Unkept),
            pace: Pace::new(limits.command, limits.slow()),
            was_up: AtomicBool::new(false),
            keeper_number: AtomicU64::new(0),
            keeper_process: AtomicU32::new(0),
            last_beat: Mutex::new(std::time::Instant::now()),
        };
        Self { shared: Arc::new(shared), keeper: Mutex::new(None) }
    }

    pub(crate) fn command_limit(&self) -> Duration {
        self.shared.common.limits.command
    }

    /// Calls a script, with a deadline that counts from `wait.begun`; `asking`: at a server to which its keys
    /// are about to move.
    ///
    /// # Errors
    ///
    /// The server refused, or did not answer in time; then nobody knows whether it did what it was asked.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        up: &Up,
        wait: Wait,
        script: &ScriptInvocation<'_>,
        asking: bool,
    ) -> Result<T, Refusal> {
        let mut connection = up.connection.redis.clone();
        let answer = async {
            if asking {
                call_asking(script, &mut connection).await
            } else {
                script.invoke_async(&mut connection).await
            }
        };
        let sent = Instant::now();
        let pace = &self.shared.pace;
        let Ok(answer) = timeout_at(pace.deadline(wait.begun, sent), answer).await else {
            if pace.is_too_slow(wait.here, sent, Instant::now(), up.round_trip) {
                self.shared.suspect(up, &not_in_time());
            }
            return Err(Refusal::Final(not_in_time()));
        };
        let is_spent = pace.answered(wait.here, sent, Instant::now());
        match &answer {
            Err(error) if refusal::is_fatal(error) => self.shared.condemn(up, &explain(error)),
            _ if is_spent => self.shared.suspect(up, &too_slow()),
            _ => {}
        }
        answer.map_err(|error| Refusal::of(&error))
    }

    /// The connection, if it is up or comes up within the deadline of a command, which counts from
    /// `wait.begun`.
    pub(crate) async fn up(&self, wait: Wait) -> Result<Up, StorageError> {
        self.ensure_kept()?;
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting | State::Unkept));
        let limits = self.shared.common.limits;
        let error = match timeout_at(wait.begun + limits.command, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(up) => return Ok(up.clone()),
                State::Down(error) => error.clone(),
                State::Connecting | State::Unkept => StorageError::new("not connected"),
            },
            Ok(Err(_)) => StorageError::new("not connected"),
            Err(_) if wait.here.elapsed() < limits.slow() => not_in_time(),
            Err(_) => self.shared.is_late(),
        };
        Err(error.with_nothing_sent())
    }

    /// When the connection is not up any more, or at once.
    pub(crate) async fn goes_down(&self) {
        let mut state = self.shared.state.subscribe();
        // It cannot be closed while we live.
        let _ = state.wait_for(|state| !matches!(state, State::Up(_))).await;
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
        let runtime = Handle::try_current()
            .map_err(|_| StorageError::new("call this from within a tokio runtime").with_nothing_sent())?;
        let was_forked_off = !self.shared.is_keeper_here();
        let number = self.shared.keeper_number.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.beat();
        self.shared.state.send_replace(State::Connecting);
        // Order: store the process id last (Release, read by `is_keeper_here`). A thread that sees this id
        // also sees `Connecting` and the new beat, never the state that the parent's keeper had reported
        // before the fork.
        self.shared.keeper_process.store(process::id(), Ordering::Release);
        let task = runtime.spawn(keeper::keep(Arc::clone(&self.shared), number));
        // After a fork, do not abort the parent's task. Its runtime's locks may have been copied while a
        // thread held them, so `abort` could block for ever here; and its wake-up descriptor is shared with
        // the parent.
        if let Some(before) = keeper.replace(task.abort_handle()).filter(|_| !was_forked_off) {
            before.abort();
        }
        Ok(())
    }
}

fn not_in_time() -> StorageError {
    StorageError::new("Redis did not answer in time")
}

fn too_slow() -> StorageError {
    StorageError::new("Redis answers too slowly")
}

impl Drop for Link {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A forked process does not abort its parent's keeper, for the reason in `ensure_kept`.
        if let Some(keeper) = keeper.take().filter(|_| self.shared.is_keeper_here()) {
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
        f.debug_struct("Link")
            .field("server", &self.shared.locate.to_string())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn is_kept(&self) -> bool {
        if !self.is_keeper_here() {
            return false;
        }
        match &*self.state.borrow() {
            State::Unkept => false,
            State::Up(_) => true,
            State::Connecting | State::Down(_) => {
                let last_beat = *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
                last_beat.elapsed() < self.common.limits.silence()
            }
        }
    }

    /// Whether the keeper was started in this process. A fork copies the state that the keeper has reported,
    /// but not its task.
    fn is_keeper_here(&self) -> bool {
        self.keeper_process.load(Ordering::Acquire) == process::id()
    }

    fn is_down(&self) -> bool {
        matches!(*self.state.borrow(), State::Down(_))
    }

    /// Whoever ends a time in which the keeper had nothing to do says so.
    fn beat(&self) {
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = std::time::Instant::now();
    }

    /// What the keeper with this number says, unless there is another one by now. Says whether it was
    /// down.
    fn report(&self, keeper: u64, state: State) -> bool {
        self.beat();
        let mut was_down = false;
        self.state.send_if_modified(|present| {
            let is_heard = self.keeper_number.load(Ordering::Relaxed) == keeper;
            if is_heard {
                was_down = matches!(std::mem::replace(present, state), State::Down(_));
            }
            is_heard
        });
        was_down
    }

    /// Opens the breaker because the server is slow: from now on calls fail at once.
    fn suspect(&self, up: &Up, error: &StorageError) {
        if self.open(up, error) {
            self.pace.opened();
            up.signals.suspected.notify_one();
        }
    }

    fn condemn(&self, up: &Up, error: &StorageError) {
        if self.open(up, error) {
            up.signals.condemned.notify_one();
        }
    }

    fn open(&self, up: &Up, error: &StorageError) -> bool {
        self.beat();
        let is_meant =
            |state: &State| matches!(state, State::Up(present) if Arc::ptr_eq(&present.signals, &up.signals));
        let opened = self.state.send_if_modified(|state| {
            let is_meant = is_meant(state);
            if is_meant {
                *state = State::Down(error.clone());
            }
            is_meant
        });
        if opened {
            self.tell_of_outage(error);
        }
        opened
    }

    /// Once for each.
    fn tell_of_outage(&self, error: &StorageError) {
        let cause = std::error::Error::source(error).map(tracing::field::display);
        tracing::warn!(%error, cause, server = %self.locate, "going on without Redis until it answers again");
    }

    /// The keeper goes on trying, but callers have waited enough.
    fn is_late(&self) -> StorageError {
        let error = StorageError::new("no connection to Redis in time");
        let was_connecting = self.state.send_if_modified(|state| {
            let is_connecting = matches!(state, State::Connecting);
            if is_connecting {
                *state = State::Down(error.clone());
            }
            is_connecting
        });
        if was_connecting {
            self.pace.opened();
            self.tell_of_outage(&error);
        }
        error
    }
}
