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
            let expected = if url.starts_with("rediss:") || url.starts_with("valkeys:") {
                "an address without TLS, which this build of the redis crate cannot do"
            } else {
                "redis://[user:password@]host[:port][/database], valkey://… or redis+unix:///path, with user \
                 and password percent-encoded"
            };
            ConfigError::new("url", expected)
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

    /// How long a call may take, with waiting for the connection; at most a minute. After the first that takes longer nobody
    /// waits, until the server has answered a probe within this time.
    ///
    /// It bounds what an outage costs, so it is short; give it more where the way to the server, with TLS
    /// and login, takes more at first.
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit;
        self
    }

    /// How long after its holder's death others wait before one of them fetches. It is extended while the
    /// holder lives, so a fetch may take longer. From 100 ms to an hour.
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
    /// quarter more, at random; at least what [`recheck_after`](Self::recheck_after) says.
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
        let millis = Duration::from_millis;
        within("command_timeout", self.command_timeout, millis(1), LONGEST_COMMAND)?;
        within("lease", self.lease, millis(100), LONGEST_LEASE)?;
        within("recheck_after", self.freshness.recheck_after, millis(1), Duration::MAX)?;
        within("trusted_for", self.freshness.trusted_for, self.freshness.recheck_after, Duration::MAX)?;

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

/// Who waits for longer would do better without a shared storage.
const LONGEST_COMMAND: Duration = Duration::from_secs(60);
/// So long nobody fetches after a holder's death.
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

fn within(field: &'static str, value: Duration, least: Duration, most: Duration) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let expected =
        if most == Duration::MAX { format!("{least:?} or more") } else { format!("{least:?} to {most:?}") };
    Err(ConfigError::new(field, expected))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(
        setting: impl FnOnce(RedisTokenStorageBuilder) -> RedisTokenStorageBuilder,
    ) -> Option<&'static str> {
        let builder = RedisTokenStorage::builder("redis://127.0.0.1:1");
        setting(builder).build().err().map(|error| error.field())
    }

    #[test]
    fn settings_that_cannot_be_are_named_and_the_utmost_ones_do_no_harm() {
        let (zero, max) = (Duration::ZERO, Duration::MAX);
        assert_eq!(refused(|builder| builder), None);
        assert_eq!(refused(|builder| builder.key_prefix("a{b")), Some("key_prefix"));
        for duration in [zero, max] {
            assert_eq!(refused(|builder| builder.command_timeout(duration)), Some("command_timeout"));
            assert_eq!(refused(|builder| builder.lease(duration)), Some("lease"));
        }
        assert_eq!(refused(|builder| builder.recheck_after(zero)), Some("recheck_after"));
        assert_eq!(refused(|builder| builder.recheck_after(max)), Some("trusted_for"));
        assert_eq!(refused(|builder| builder.trusted_for(zero)), Some("trusted_for"));
        assert_eq!(refused(|builder| builder.recheck_after(max).trusted_for(max)), None);
    }

    #[test]
    fn inv16_an_address_that_cannot_be_is_named_without_its_password() {
        for url in ["", "http://user:canary@host", "redis://user:canary@host/x", "redis://user:canary@"] {
            let error = RedisTokenStorage::new(url).expect_err(url);
            assert_eq!(error.field(), "url");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
        let builder = RedisTokenStorage::builder("redis://user:canary@127.0.0.1:1");
        let settings = format!("{builder:?}");
        let storage = format!("{:?}", builder.build().expect("a storage"));
        let shown = settings + &storage;
        assert!(!shown.contains("canary"), "{shown}");
    }
}
