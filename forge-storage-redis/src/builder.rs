use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{Clock, ConfigError, Freshness, SystemClock};
use redis::{Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::RedisTokenStorage;
use crate::announcements::Announcements;
use crate::keys;
use crate::link::{Limits, Link};
use crate::scripts::Scripts;
use crate::server_clock::ServerClock;
use crate::storage::Inner;

/// Settings of a [`RedisTokenStorage`].
///
/// | setting | default |
/// | --- | --- |
/// | [`key_prefix`](Self::key_prefix) | `token` |
/// | [`command_timeout`](Self::command_timeout) | 100 ms |
/// | [`lease`](Self::lease) | 5 s |
/// | [`recheck_after`](Self::recheck_after) | 10 s |
/// | [`trusted_for`](Self::trusted_for) | 60 s |
/// | [`clock`](Self::clock) | the machine's |
#[must_use]
pub struct RedisTokenStorageBuilder {
    target: Result<ConnectionInfo, ConfigError>,
    key_prefix: String,
    command_timeout: Duration,
    lease: Duration,
    freshness: Freshness,
    clock: Arc<dyn Clock>,
}

impl RedisTokenStorageBuilder {
    pub(crate) fn from_url(url: &str) -> Self {
        // The client's own words may quote the URL, and so a password.
        let target = url.into_connection_info().map_err(|_| {
            ConfigError::new(
                "url",
                "redis://[user:password@]host[:port][/database], valkey://… or redis+unix:///path",
            )
        });
        Self::new(target)
    }

    pub(crate) fn from_client(client: &Client) -> Self {
        Self::new(Ok(client.get_connection_info().clone()))
    }

    fn new(target: Result<ConnectionInfo, ConfigError>) -> Self {
        Self {
            target,
            key_prefix: "token".to_owned(),
            command_timeout: Duration::from_millis(100),
            lease: Duration::from_secs(5),
            freshness: Freshness {
                recheck_after: Duration::from_secs(10),
                trusted_for: Duration::from_secs(60),
            },
            clock: Arc::new(SystemClock),
        }
    }

    /// What the keys begin with, before a colon. No `{` and no `}`.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// How long a call may take, with waiting for the connection. After the first that takes longer nobody
    /// waits, until the server has answered a probe within this time.
    ///
    /// It bounds what an outage costs, so it is short; give it more where the way to the server, with TLS
    /// and login, takes more at first.
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit;
        self
    }

    /// How long after its holder's death others wait before one of them fetches. It is extended while the
    /// holder lives, so a fetch may take longer.
    pub fn lease(mut self, duration: Duration) -> Self {
        self.lease = duration;
        self
    }

    /// After this time in use a token is compared with the server's, in the background: for those who
    /// write without announcing it, and for a connection that is dead without a sign. Up to a quarter
    /// more, at random.
    pub fn recheck_after(mut self, time: Duration) -> Self {
        self.freshness.recheck_after = time;
        self
    }

    /// After this time without a comparison, because the server cannot be reached, a token that others
    /// share is not handed out any more, and one is fetched without it; it stays where that fails. Up to a
    /// quarter more, at random.
    pub fn trusted_for(mut self, time: Duration) -> Self {
        self.freshness.trusted_for = time;
        self
    }

    /// The clock by which this process judges expiry: give it the manager's, if that has one of its own.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The storage. Nothing is sent before its first use.
    ///
    /// # Errors
    ///
    /// A setting cannot be: the error names it.
    pub fn build(self) -> Result<RedisTokenStorage, ConfigError> {
        let target = self.target?;
        keys::check(&self.key_prefix).map_err(|expected| ConfigError::new("key_prefix", expected))?;
        at_least("command_timeout", self.command_timeout, Duration::from_millis(1))?;
        at_least("lease", self.lease, Duration::from_millis(100))?;
        at_least("recheck_after", self.freshness.recheck_after, Duration::from_millis(1))?;
        at_least("trusted_for", self.freshness.trusted_for, self.freshness.recheck_after)?;

        // Announcements come over the same connection as answers, which takes RESP3.
        let settings = target.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(target.set_redis_settings(settings))
            .map_err(|_| ConfigError::new("url", "an address that this build can connect to"))?;
        let announcements = Arc::new(Announcements::new(&self.key_prefix, self.freshness));
        let connect = (self.command_timeout * 2).max(SHORTEST_CONNECT);
        let limits = Limits { command: self.command_timeout, connect };
        let scripts = Arc::new(Scripts::new());
        Ok(RedisTokenStorage(Arc::new(Inner {
            prefix: self.key_prefix,
            lease: self.lease,
            link: Link::new(client, limits, Arc::clone(&announcements), Arc::clone(&scripts)),
            scripts,
            announcements,
            clock: ServerClock::new(self.clock),
            reported: Mutex::new(HashSet::new()),
        })))
    }
}

/// Nobody waits for it, so it may take longer than a command.
const SHORTEST_CONNECT: Duration = Duration::from_secs(1);

fn at_least(field: &'static str, value: Duration, least: Duration) -> Result<(), ConfigError> {
    if value >= least { Ok(()) } else { Err(ConfigError::new(field, format!("{least:?} or more"))) }
}

impl fmt::Debug for RedisTokenStorageBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTokenStorageBuilder")
            .field("key_prefix", &self.key_prefix)
            .field("command_timeout", &self.command_timeout)
            .field("lease", &self.lease)
            .field("freshness", &self.freshness)
            .finish_non_exhaustive()
    }
}
