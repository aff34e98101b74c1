use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{Clock, ConfigError, SecretSource, StalenessLimits, SystemClock};
use redis::auth::StreamingCredentialsProvider;
use redis::{Client, RedisConnectionInfo};

use crate::RedisTokenStorage;
use crate::announcements::Announcements;
use crate::cluster::Cluster;
use crate::connection::{ConnectionContext, SupervisedConnection};
use crate::dialer::Dialer;
use crate::discovery::{FixedAddress, Sentinels};
use crate::keys;
use crate::limits::Limits;
use crate::login::{Login, LoginStream};
use crate::scripts::Scripts;
use crate::servers::Servers;
use crate::storage::Inner;
use crate::target::Target;
#[cfg(feature = "rustls-no-provider")]
use crate::tls::{Certificates, Tls};

/// Settings of a [`RedisTokenStorage`].
///
/// | setting | default |
/// | --- | --- |
/// | [`key_prefix`](Self::key_prefix) | `token` |
/// | [`command_timeout`](Self::command_timeout) | 100 ms |
/// | [`lease`](Self::lease) | 5 s |
/// | [`recheck_after`](Self::recheck_after) | 10 s |
/// | [`trusted_for`](Self::trusted_for) | 60 s |
/// | [`username`](Self::username), [`password`](Self::password) | those of the address; behind sentinels none, since the login in their addresses is for the sentinels |
/// | [`credentials_provider`](Self::credentials_provider) | none |
/// | [`database`](Self::database) | that of the address, else 0 |
/// | `root_certificates` (with TLS) | those of the system |
/// | `client_certificate` (with TLS) | none |
/// | [`clock`](Self::clock) | the machine's clock |
#[must_use]
pub struct RedisTokenStorageBuilder {
    target: Result<Target, ConfigError>,
    username: Option<SecretSource>,
    password: Option<SecretSource>,
    credentials: Option<Arc<dyn StreamingCredentialsProvider>>,
    database: Option<u16>,
    #[cfg(feature = "rustls-no-provider")]
    certificates: Certificates,
    key_prefix: String,
    command_timeout: Duration,
    lease: Duration,
    staleness_limits: StalenessLimits,
    clock: Arc<dyn Clock>,
}

impl RedisTokenStorageBuilder {
    pub(crate) fn from_client(client: &Client) -> Self {
        Self::new(Target::from_client(client))
    }

    pub(crate) fn new(target: Result<Target, ConfigError>) -> Self {
        Self {
            target,
            username: None,
            password: None,
            credentials: None,
            database: None,
            #[cfg(feature = "rustls-no-provider")]
            certificates: Certificates::default(),
            key_prefix: "token".to_owned(),
            command_timeout: Duration::from_millis(100),
            lease: Duration::from_secs(5),
            staleness_limits: StalenessLimits {
                recheck_after: Duration::from_secs(10),
                trusted_for: Duration::from_secs(60),
            },
            clock: Arc::new(SystemClock),
        }
    }

    /// The prefix of each key in Redis; a colon follows it. The prefix must not contain `{` or `}`, and no
    /// segment of it (between colons) may be `auth_token`, which begins the keys of token managers. If the
    /// prefix contains a colon, each cache key must contain one too.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// How long a call may take, including the wait for the connection; at most a minute. An answer that
    /// takes more than a quarter of this time counts as slow. When one call exceeds this time, or slow
    /// answers add up to it, all calls fail at once until the server has answered a probe within a quarter of
    /// this time.
    ///
    /// This time bounds the cost of an outage, so it is short by default. Raise it if the network, TLS or the login
    /// are slow. An attempt to connect may take twice as long, at least a second: it takes about ten round trips,
    /// including those to sentinels or nodes.
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit;
        self
    }

    /// How long the other processes wait after the crash of a process that fetches, before one of them fetches. A running
    /// process extends its lease, so a fetch may take longer. From 100 ms to an hour.
    pub fn lease(mut self, duration: Duration) -> Self {
        self.lease = duration;
        self
    }

    /// After this time in use the storage compares a cached token with the server's, in the background. This finds
    /// changes by writers that announce nothing. A random time of up to a quarter is added. Each quarter of this time,
    /// at least a second, the storage probes the connection, so that it notices one that died silently.
    pub fn recheck_after(mut self, time: Duration) -> Self {
        self.staleness_limits.recheck_after = time;
        self
    }

    /// If the server cannot be reached for this time, the manager no longer trusts a cached token that other processes
    /// share, and fetches one without the storage. If that fails, too, the cached token stays in use. A random time of
    /// up to a quarter is added. At least [`recheck_after`](Self::recheck_after).
    pub fn trusted_for(mut self, time: Duration) -> Self {
        self.staleness_limits.trusted_for = time;
        self
    }

    /// The user at the server, instead of the address's. The storage reads it before each connection, so a rotated one
    /// needs no restart. Requires a [`password`](Self::password).
    pub fn username(mut self, username: impl Into<SecretSource>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password at the server, instead of the address's. The storage reads it before each connection. After a
    /// refused login it tries again twice a second, and so finds a new password. Reading may take a second, or twice the
    /// [`command_timeout`](Self::command_timeout) if that is longer.
    ///
    /// ```
    /// use requestforge::{RedisTokenStorage, SecretSource};
    ///
    /// let storage = RedisTokenStorage::builder("redis://tokens@10.0.0.5:6379")
    ///     .password(SecretSource::file("/run/secrets/redis-password"))
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn password(mut self, password: impl Into<SecretSource>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A stream of logins, as the redis crate defines it. Whenever it yields a new login, the connection logs in again.
    /// After a refused login the storage does not read the stream again before the next connection. Excludes
    /// [`username`](Self::username) and [`password`](Self::password).
    pub fn credentials_provider(mut self, provider: impl StreamingCredentialsProvider + 'static) -> Self {
        self.credentials = Some(Arc::new(provider));
        self
    }

    /// The number of the database, instead of the address's. A cluster has only the number 0.
    pub fn database(mut self, number: u16) -> Self {
        self.database = Some(number);
        self
    }

    /// The certificate authorities to trust instead of the system's: one or more certificates in PEM format, not a
    /// path. For addresses with TLS, with the feature `rustls` or
    /// `rustls-no-provider` (`redis-tls`, `redis-tls-no-provider` of requestforge). An authority's own
    /// certificate is not accepted as a server's.
    #[cfg(feature = "rustls-no-provider")]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.roots = Some(pem.into());
        self
    }

    /// The client certificate for servers that ask for one: the chain and the private key, both in PEM format. For
    /// addresses with TLS, with the same features.
    #[cfg(feature = "rustls-no-provider")]
    pub fn client_certificate(mut self, chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((chain_pem.into(), key_pem.into().into()));
        self
    }

    /// The clock by which this process judges expiry. Set it to the manager's clock if you have set that.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the storage. It connects at its first use.
    ///
    /// # Errors
    ///
    /// A setting is invalid; the error names it.
    pub fn build(self) -> Result<RedisTokenStorage, ConfigError> {
        let target = self.target?;
        keys::check_prefix(&self.key_prefix)?;
        let millis = Duration::from_millis;
        within("command_timeout", self.command_timeout, millis(1), MAX_COMMAND)?;
        within("lease", self.lease, millis(100), MAX_LEASE)?;
        within("recheck_after", self.staleness_limits.recheck_after, millis(1), Duration::MAX)?;
        within(
            "trusted_for",
            self.staleness_limits.trusted_for,
            self.staleness_limits.recheck_after,
            Duration::MAX,
        )?;
        let (settings, tcp) = target.settings();
        let settings = match self.database {
            Some(_) if matches!(target, Target::Cluster(_)) && self.database != Some(0) => {
                return Err(ConfigError::new("database", "0, since a cluster has no other database"));
            }
            Some(number) => settings.set_db(i64::from(number)),
            None => settings,
        };
        if self.credentials.is_some() && (self.username.is_some() || self.password.is_some()) {
            return Err(ConfigError::new(
                "credentials_provider",
                "no `username` and no `password` beside it",
            ));
        }
        let of_address = target.login();
        let login = Login {
            username: self.username.or(of_address.username),
            password: self.password.or(of_address.password),
            stream: self.credentials.map(LoginStream),
        };
        if login.username.is_some() && login.password.is_none() && login.stream.is_none() {
            return Err(ConfigError::new("password", "a password for the user"));
        }

        #[cfg(feature = "rustls-no-provider")]
        let tls = match target.tls() {
            (_, true) => Some(Tls::new(&self.certificates)?),
            (field, false) if self.certificates.are_given() => {
                return Err(ConfigError::new(field, "rediss://… or valkeys://…, since certificates are set"));
            }
            (_, false) => None,
        };
        let dialer = Dialer {
            login,
            settings,
            tcp,
            #[cfg(feature = "rustls-no-provider")]
            tls,
        };
        let scripts = Arc::new(Scripts::new());
        let announcements = Arc::new(Announcements::new(&self.key_prefix, self.staleness_limits));
        let connect = (self.command_timeout * 2).max(MIN_CONNECT);
        let limits = Limits { command: self.command_timeout, connect };
        let common = Arc::new(ConnectionContext {
            dialer: Arc::new(dialer.clone()),
            limits,
            announcements: Arc::clone(&announcements),
            scripts: Arc::clone(&scripts),
            clock: self.clock,
        });
        let servers = match target {
            Target::One(info) => {
                let discovery = FixedAddress(info.addr().clone());
                Servers::One(Arc::new(SupervisedConnection::new(common, Arc::new(discovery))))
            }
            Target::Sentinel { sentinels, master_name } => {
                let dialer =
                    Dialer { login: sentinels.login, settings: RedisConnectionInfo::default(), ..dialer };
                let discovery = Sentinels::new(
                    sentinels.addresses,
                    Arc::new(dialer),
                    master_name,
                    limits,
                    self.staleness_limits.recheck_after,
                );
                Servers::One(Arc::new(SupervisedConnection::new(common, Arc::new(discovery))))
            }
            Target::Cluster(nodes) => Servers::Cluster(Cluster::new(common, nodes.addresses)),
        };
        Ok(RedisTokenStorage(Arc::new(Inner {
            prefix: self.key_prefix,
            lease: self.lease,
            servers,
            scripts,
            announcements,
            reported: Mutex::new(HashSet::new()),
        })))
    }
}

/// The minimum time for an attempt to connect. No caller waits for the attempt, so it may take longer than a command.
const MIN_CONNECT: Duration = Duration::from_secs(1);

/// The maximum command time-out. A caller that waits longer is better off without a shared storage.
const MAX_COMMAND: Duration = Duration::from_secs(60);
/// The maximum lease. After the crash of its holder no process fetches for this time.
const MAX_LEASE: Duration = Duration::from_secs(3600);

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
            .field("staleness_limits", &self.staleness_limits)
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
        assert_eq!(refused(|builder| builder.key_prefix("shop:auth_token")), Some("key_prefix"));
        assert_eq!(refused(|builder| builder.key_prefix("shop:alice")), None);
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
