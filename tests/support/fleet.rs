//! The messages between a test and the processes of a fleet (`fleet-member`): orders and reports, each a
//! line of JSON. No report contains a token.

mod topology;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use requestforge::storage::TokenId;
use serde::{Deserialize, Serialize};

pub use topology::Topology;

/// An order to a process. It carries out one at a time, and reports on each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// The first order: the server to ask for tokens, and the storage to share them in.
    Open(Box<Settings>),
    /// Does all of this work at once, beginning at a moment (0: now).
    Run {
        /// The work.
        work: Vec<Work>,
        /// The moment of the beginning, as [`now`] counts.
        at: u64,
    },
    /// Asks for a token again and again, as requests would.
    Use {
        /// The cache key of the token.
        key: String,
        /// The number of tasks that ask at once.
        tasks: usize,
        /// The pause of each task between two calls.
        pause_millis: u64,
        /// The end, as [`now`] counts.
        until: u64,
    },
    /// Watches the cached token from now on.
    Watch(String),
    /// Waits until the manager does not hand out the watched token any more.
    Watched,
    /// Reports which tokens are cached for these keys.
    Show(Vec<String>),
    /// Reports the state of a manager, without using its token.
    Tell(String),
}

/// The settings of a process: its authorization server, and its Redis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The token endpoint; or the [`MultiStepServer`](crate::MultiStepServer), if there are `steps`.
    pub token_url: String,
    /// The identifier of the client.
    pub client_id: String,
    /// The secret of the client.
    pub client_secret: String,
    /// The name and the password for the password grant.
    pub user: Option<(String, String)>,
    /// Whether the tokens are sessions of a server with steps, for the application and for the user.
    pub steps: bool,
    /// The `User-Agent` of the process's token calls.
    pub mark: String,
    /// The Redis servers.
    pub redis: Topology,
    /// The prefix of all keys in Redis.
    pub prefix: String,
    /// The duration of a lease.
    pub lease: Duration,
    /// The number of milliseconds by which the wall clock of the process is ahead.
    pub clock_ahead: i64,
}

/// Some calls of one manager's methods at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// The cache key of the token. A new key means a new manager without a cached token.
    pub key: String,
    /// The method to call.
    pub what: Request,
    /// The number of tasks that call it.
    pub tasks: usize,
    /// The delay after the beginning of the whole work, in microseconds.
    pub after: u64,
}

/// A method of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// `get_token`.
    Get,
    /// `refresh_rejected`, with the last token that the manager returned.
    Reject,
    /// `invalidate_token`.
    Invalidate,
    /// `force_refresh`.
    Force,
}

/// The result of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// There is nothing to report.
    Done,
    /// The outcome of each piece of work.
    Outcomes(Vec<Outcome>),
    /// The watched token is gone.
    Gone {
        /// The moment at which the process saw that, as [`now`] counts.
        at: u64,
        /// The time for which the process wanted a processor meanwhile and had none, in nanoseconds.
        stood_still: u64,
    },
    /// The name of the cached token for each key, if there is a usable one.
    AtHand(Vec<Option<String>>),
    /// The state of one manager.
    State(State),
}

/// The results of the callers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The names of all tokens.
    pub tokens: BTreeSet<String>,
    /// The number of callers without a token and without an error.
    pub without: usize,
    /// All errors, each as often as it occurred.
    pub errors: Vec<Failure>,
    /// The waiting time of the slowest caller.
    pub longest: Duration,
    /// The moment at which the last caller had its result, as [`now`] counts.
    pub ended: u64,
}

/// The parts of an error that tests need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The text of the error.
    pub text: String,
    /// The status of the token endpoint's answer.
    pub status: Option<u16>,
    /// Whether it is transient.
    pub is_transient: bool,
}

/// A manager's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The time for which the cached token is usable, in milliseconds.
    pub usable_for: Option<u64>,
    /// The remaining life of the last token by the clock of the process, in milliseconds.
    pub expires_in: Option<i64>,
    /// The last error since the manager last fetched a token.
    pub last_error: Option<String>,
    /// The remaining time for which the manager fetches nothing because of that, in milliseconds.
    pub cool_down: Option<u64>,
}

/// A name for a token that does not contain the token.
pub fn name(id: TokenId) -> String {
    // Enough digits to distinguish the tokens of a test.
    let first = id.as_bytes().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte));
    format!("{first:016x}")
}

/// Nanoseconds since 1970, by the clock that all processes of a machine share.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
