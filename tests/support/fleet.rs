//! What a test and the processes of a fleet (`fleet-member`) say to each other: orders and reports, each
//! a line of JSON. No report has a token in it.

mod topology;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use requestforge::storage::TokenId;
use serde::{Deserialize, Serialize};

pub use topology::Topology;

/// What a process is told to do. It does one at a time, and reports on each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// The first one: whom to ask for tokens, and where to share them.
    Open(Box<Settings>),
    /// Does all of this at once, from a moment on (0: now).
    Run {
        /// What.
        work: Vec<Work>,
        /// When, as [`now`] counts.
        at: u64,
    },
    /// Asks for a token again and again, as requests would.
    Use {
        /// Whose.
        key: String,
        /// By so many at once.
        tasks: usize,
        /// Each pauses so long in between.
        pause_millis: u64,
        /// Until then, as [`now`] counts.
        until: u64,
    },
    /// Looks at the token at hand all the time, from now on.
    Watch(String),
    /// Waits until the token that is watched is not at hand any more.
    Watched,
    /// Tells which tokens are at hand for these keys.
    Show(Vec<String>),
    /// Tells how a manager stands, without using its token.
    Tell(String),
}

/// What a process is to its authorization server and to its Redis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The token endpoint; or the [`MultiStepServer`](crate::MultiStepServer), if there are `steps`.
    pub token_url: String,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Name and password: for the password grant.
    pub user: Option<(String, String)>,
    /// Whether the tokens are sessions of a server of several steps: of the application, of the user.
    pub steps: bool,
    /// The `User-Agent` of its token calls.
    pub mark: String,
    /// Where Redis is.
    pub redis: Topology,
    /// The prefix of all keys there.
    pub prefix: String,
    /// For how long a lease is given.
    pub lease: Duration,
    /// How far its wall clock is ahead, in milliseconds.
    pub clock_ahead: i64,
}

/// Some calls of one manager's methods at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Whose token. A key that was not named before is a manager with nothing at hand.
    pub key: String,
    /// Which method.
    pub what: What,
    /// How many tasks call it.
    pub tasks: usize,
    /// How much later than the rest of the work it begins, in microseconds.
    pub after: u64,
}

/// A method of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// `get_token`.
    Get,
    /// `refresh_rejected`, with the token that was got last.
    Reject,
    /// `invalidate_token`.
    Invalidate,
    /// `force_refresh`.
    Force,
}

/// What came of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// Nothing to tell.
    Done,
    /// For each piece of work.
    Outcomes(Vec<Outcome>),
    /// When the watched token was seen to be gone.
    Gone {
        /// As [`now`] counts.
        at: u64,
        /// For how long the process wanted a processor and had none meanwhile, in nanoseconds.
        stood_still: u64,
    },
    /// For each key what names the token at hand, if there is one that may be used.
    AtHand(Vec<Option<String>>),
    /// Of one manager.
    State(State),
}

/// What callers got.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// All tokens, by what names them.
    pub tokens: BTreeSet<String>,
    /// How many got none, and no error.
    pub without: usize,
    /// What went wrong, each as often as it did.
    pub errors: Vec<Failure>,
    /// How long the slowest one waited.
    pub longest: Duration,
    /// When the last one had what it wanted, as [`now`] counts.
    pub ended: u64,
}

/// An error, as far as it matters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What it says.
    pub text: String,
    /// The status that the token endpoint answered with.
    pub status: Option<u16>,
    /// Whether it is transient.
    pub is_transient: bool,
}

/// A manager's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// How long the token at hand may be used, in milliseconds.
    pub usable_for: Option<u64>,
    /// How long the token that was got last lives by the clock of the process, in milliseconds.
    pub expires_in: Option<i64>,
    /// What went wrong since a token was last fetched.
    pub last_error: Option<String>,
    /// How long nothing is fetched because of that, in milliseconds.
    pub cool_down: Option<u64>,
}

/// Names a token, without being it.
pub fn name(id: TokenId) -> String {
    // Enough to tell the tokens of a test apart.
    let first = id.as_bytes().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte));
    format!("{first:016x}")
}

/// Nanoseconds since 1970: the clock that all processes of a machine have in common.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
