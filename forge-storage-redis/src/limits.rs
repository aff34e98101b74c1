use std::time::Duration;

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The limit for a command, including the wait for the connection.
    pub(crate) command: Duration,
    /// The limit for an attempt to connect.
    pub(crate) connect: Duration,
}

impl Limits {
    /// An answer that takes longer is slow, even if it comes within the command time-out. A fetch sends three to six
    /// commands, so with a quarter each a server that is just not slow costs a call about one time-out.
    pub(crate) fn slow(self) -> Duration {
        self.command / 4
    }

    /// The limit for finding the server's address. It is shorter than the limit for the whole attempt to connect, so
    /// that the error of the search is reported, not the attempt's time-out.
    pub(crate) fn discovery(self) -> Duration {
        self.connect.mul_f64(0.9)
    }

    /// A supervisor without a working connection records activity more often than this: at each attempt and at each probe,
    /// with pauses of 5 s at most. If it does not, its runtime no longer runs its tasks, and a new supervisor takes over. The
    /// time of three attempts, and at least 15 s, leaves room for a machine that is overloaded.
    pub(crate) fn max_inactivity(self) -> Duration {
        (self.connect * 3).max(Duration::from_secs(15))
    }
}
