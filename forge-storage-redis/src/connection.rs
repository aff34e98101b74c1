//! One connection for commands and announcements together, with a deadline on each command and a breaker. While
//! the connection is down, calls fail at once; a background task, the supervisor, reconnects.

mod asking;
mod connect;
mod refusal;
mod slow_answer_budget;
mod supervisor;
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
use crate::discovery::Discovery;
use crate::explain::explain;
use crate::limits::Limits;
use crate::scripts::Scripts;
use crate::server_clock::ServerClock;
use asking::call_asking;
pub(crate) use refusal::{Refusal, UNKNOWN_HOST};
use slow_answer_budget::SlowAnswerBudget;

/// A connection to one server that a background task keeps up.
pub(crate) struct SupervisedConnection {
    shared: Arc<SharedState>,
    supervisor: Mutex<Option<AbortHandle>>,
}

/// The settings and services that all connections of a storage share.
pub(crate) struct ConnectionContext {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) limits: Limits,
    pub(crate) announcements: Arc<Announcements>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The state that a [`SupervisedConnection`] and its supervisor share.
struct SharedState {
    common: Arc<ConnectionContext>,
    discovery: Arc<dyn Discovery>,
    state: watch::Sender<State>,
    slow_answers: SlowAnswerBudget,
    was_up: AtomicBool,
    /// The number of the current supervisor. Race: an earlier supervisor may still be ending, so its reports are ignored.
    supervisor_number: AtomicU64,
    /// The process in which the current supervisor runs.
    supervisor_process: AtomicU32,
    last_activity: Mutex<std::time::Instant>,
}

/// The times from which a call counts its deadline and its wait for a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTimes {
    /// When the call began. Its deadline counts from here.
    pub(crate) begun: Instant,
    /// When the wait for this connection began. The time that the call has spent on other connections of a cluster says
    /// nothing about this server.
    pub(crate) here: Instant,
}

impl CallTimes {
    /// The times of a call that begins now.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, here: now }
    }

    /// The times of the same call that turns to another connection now.
    pub(crate) fn at_another_connection(self) -> Self {
        Self { here: Instant::now(), ..self }
    }
}

#[derive(Clone)]
enum State {
    /// No supervisor runs: there was no call yet, or the supervisor's runtime has ended.
    Unsupervised,
    Connecting,
    Up(LiveConnection),
    Down(StorageError),
}

/// A connection that is up.
#[derive(Clone)]
pub(crate) struct LiveConnection {
    pub(crate) connection: Connection,
    /// The clock of the server at the other end.
    pub(crate) clock: Arc<ServerClock>,
    address: ConnectionAddr,
    /// How long the server took to answer a command right after connecting.
    round_trip: Duration,
    signals: Arc<Signals>,
}

/// Events of one connection, for the supervisor.
#[derive(Default)]
struct Signals {
    /// The connection has ended.
    lost: Notify,
    /// The server did not answer a command in time, or too many answers were slow.
    suspected: Notify,
    /// An answer has shown that this connection can serve no more commands.
    condemned: Notify,
}

impl SupervisedConnection {
    /// A connection to the server that `discovery` finds. The first call connects.
    pub(crate) fn new(common: Arc<ConnectionContext>, discovery: Arc<dyn Discovery>) -> Self {
        let limits = common.limits;
        let shared = SharedState {
            common,
            discovery,
            state: watch::Sender::new(State::Unsupervised),
            slow_answers: SlowAnswerBudget::new(limits.command, limits.slow()),
            was_up: AtomicBool::new(false),
            supervisor_number: AtomicU64::new(0),
            supervisor_process: AtomicU32::new(0),
            last_activity: Mutex::new(std::time::Instant::now()),
        };
        Self { shared: Arc::new(shared), supervisor: Mutex::new(None) }
    }

    pub(crate) fn command_limit(&self) -> Duration {
        self.shared.common.limits.command
    }

    /// Calls a script, with a deadline that counts from `times.begun`. With `asking` this sends `ASKING` before the script,
    /// for a server that is importing the keys.
    ///
    /// # Errors
    ///
    /// The server refused, or did not answer in time. After a time-out the script may or may not have run.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        live: &LiveConnection,
        times: CallTimes,
        script: &ScriptInvocation<'_>,
        asking: bool,
    ) -> Result<T, Refusal> {
        let mut connection = live.connection.redis.clone();
        let answer = async {
            if asking {
                call_asking(script, &mut connection).await
            } else {
                script.invoke_async(&mut connection).await
            }
        };
        let sent = Instant::now();
        let budget = &self.shared.slow_answers;
        let Ok(answer) = timeout_at(budget.deadline(times.begun, sent), answer).await else {
            if budget.is_too_slow(times.here, sent, Instant::now(), live.round_trip) {
                self.shared.suspect(live, &timeout_error());
            }
            return Err(Refusal::Final(timeout_error()));
        };
        let is_spent = budget.answered(times.here, sent, Instant::now());
        match &answer {
            Err(error) if refusal::is_fatal(error) => self.shared.condemn(live, &explain(error)),
            _ if is_spent => self.shared.suspect(live, &slowness_error()),
            _ => {}
        }
        answer.map_err(|error| Refusal::of(&error))
    }

    /// The connection, once it is up. Waits at most for the command time-out, counted from `times.begun`.
    pub(crate) async fn live(&self, times: CallTimes) -> Result<LiveConnection, StorageError> {
        self.ensure_supervised()?;
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting | State::Unsupervised));
        let limits = self.shared.common.limits;
        let error = match timeout_at(times.begun + limits.command, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(live) => return Ok(live.clone()),
                State::Down(error) => error.clone(),
                State::Connecting | State::Unsupervised => StorageError::new("not connected"),
            },
            Ok(Err(_)) => StorageError::new("not connected"),
            Err(_) if times.here.elapsed() < limits.slow() => timeout_error(),
            Err(_) => self.shared.trip_while_connecting(),
        };
        Err(error.with_nothing_sent())
    }

    /// Returns when the connection is down, possibly at once.
    pub(crate) async fn wait_until_down(&self) {
        let mut state = self.shared.state.subscribe();
        // The channel cannot close: `self` holds its sender.
        let _ = state.wait_for(|state| !matches!(state, State::Up(_))).await;
    }

    /// Starts a supervisor if none runs in this process, or if its runtime no longer runs its tasks.
    fn ensure_supervised(&self) -> Result<(), StorageError> {
        if self.shared.is_supervised() {
            return Ok(());
        }
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        // Race: another caller may have started a supervisor while this one waited for the lock.
        if self.shared.is_supervised() {
            return Ok(());
        }
        let runtime = Handle::try_current()
            .map_err(|_| StorageError::new("call this from within a tokio runtime").with_nothing_sent())?;
        let was_forked_off = !self.shared.is_supervisor_here();
        let number = self.shared.supervisor_number.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.record_activity();
        self.shared.state.send_replace(State::Connecting);
        // Order: store the process id last (Release, read by `is_supervisor_here`). A thread that sees this id also sees
        // `Connecting` and the new activity, and never the state that the parent's supervisor reported before the fork.
        self.shared.supervisor_process.store(process::id(), Ordering::Release);
        let task = runtime.spawn(supervisor::supervise(Arc::clone(&self.shared), number));
        // Crash: after a fork, do not abort the parent's task. The fork may have copied the locks of the parent's runtime
        // while a thread held them, so `abort` could block for ever here. And `abort` would write to the wake-up descriptor
        // that this process shares with the parent.
        if let Some(before) = supervisor.replace(task.abort_handle()).filter(|_| !was_forked_off) {
            before.abort();
        }
        Ok(())
    }
}

fn timeout_error() -> StorageError {
    StorageError::new("Redis did not answer in time")
}

fn slowness_error() -> StorageError {
    StorageError::new("Redis answers too slowly")
}

impl Drop for SupervisedConnection {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A forked process does not abort its parent's supervisor, for the reason in `ensure_supervised`.
        if let Some(supervisor) = supervisor.take().filter(|_| self.shared.is_supervisor_here()) {
            supervisor.abort();
        }
    }
}

impl fmt::Debug for SupervisedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.shared.state.borrow() {
            State::Unsupervised => "not used yet",
            State::Connecting => "connecting",
            State::Up(_) => "up",
            State::Down(_) => "down",
        };
        f.debug_struct("SupervisedConnection")
            .field("server", &self.shared.discovery.to_string())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl SharedState {
    fn is_supervised(&self) -> bool {
        if !self.is_supervisor_here() {
            return false;
        }
        match &*self.state.borrow() {
            State::Unsupervised => false,
            State::Up(_) => true,
            State::Connecting | State::Down(_) => {
                let last_activity = *self.last_activity.lock().unwrap_or_else(PoisonError::into_inner);
                last_activity.elapsed() < self.common.limits.max_inactivity()
            }
        }
    }

    /// Whether the supervisor was started in this process. A fork copies the state that the supervisor has
    /// reported, but not its task.
    fn is_supervisor_here(&self) -> bool {
        self.supervisor_process.load(Ordering::Acquire) == process::id()
    }

    fn is_down(&self) -> bool {
        matches!(*self.state.borrow(), State::Down(_))
    }

    /// Records a sign of life. A report from a call counts, too: while the connection was up the supervisor had
    /// nothing to record.
    fn record_activity(&self) {
        *self.last_activity.lock().unwrap_or_else(PoisonError::into_inner) = std::time::Instant::now();
    }

    /// Sets the state for the supervisor with this number, unless another one has replaced it. Returns whether the
    /// connection was down before.
    fn report(&self, supervisor: u64, state: State) -> bool {
        self.record_activity();
        let mut was_down = false;
        self.state.send_if_modified(|present| {
            let is_current = self.supervisor_number.load(Ordering::Relaxed) == supervisor;
            if is_current {
                was_down = matches!(std::mem::replace(present, state), State::Down(_));
            }
            is_current
        });
        was_down
    }

    /// Opens the breaker because the server is slow: calls fail at once from now on.
    fn suspect(&self, live: &LiveConnection, error: &StorageError) {
        if self.open(live, error) {
            self.slow_answers.opened();
            live.signals.suspected.notify_one();
        }
    }

    /// Opens the breaker because this connection is useless: the supervisor replaces it.
    fn condemn(&self, live: &LiveConnection, error: &StorageError) {
        if self.open(live, error) {
            live.signals.condemned.notify_one();
        }
    }

    /// Opens the breaker if `live` still is the current connection. Race: the call that failed may belong to an
    /// earlier one.
    fn open(&self, live: &LiveConnection, error: &StorageError) -> bool {
        self.record_activity();
        let is_current = |state: &State| matches!(state, State::Up(present) if Arc::ptr_eq(&present.signals, &live.signals));
        let opened = self.state.send_if_modified(|state| {
            let is_current = is_current(state);
            if is_current {
                *state = State::Down(error.clone());
            }
            is_current
        });
        if opened {
            self.warn_of_outage(error);
        }
        opened
    }

    fn warn_of_outage(&self, error: &StorageError) {
        let cause = std::error::Error::source(error).map(tracing::field::display);
        tracing::warn!(%error, cause, server = %self.discovery, "Redis cannot be used; continuing without it until it answers again");
    }

    /// Opens the breaker while the supervisor still connects, because one caller has waited its whole time-out. Further
    /// callers then fail at once.
    fn trip_while_connecting(&self) -> StorageError {
        let error = StorageError::new("cannot connect to Redis in time");
        let was_connecting = self.state.send_if_modified(|state| {
            let is_connecting = matches!(state, State::Connecting);
            if is_connecting {
                *state = State::Down(error.clone());
            }
            is_connecting
        });
        if was_connecting {
            self.slow_answers.opened();
            self.warn_of_outage(&error);
        }
        error
    }
}
