mod builder;
mod lease;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use forge_core::{
    CompareAndDelete, ConfigError, Generation, Secret, StorageError, TokenData, TokenId, TokenLease,
    TokenLeases, TokenStorage,
};
use redis::Client;
use zeroize::Zeroizing;

use crate::announcements::Announcements;
use crate::connection::LiveConnection;
use crate::keys::{self, Keys};
use crate::scripts::Scripts;
use crate::server_clock::ServerClock;
use crate::servers::Servers;
use crate::target::Target;
pub use builder::RedisTokenStorageBuilder;
use lease::Lease;

/// Stores tokens in Redis 7 or Valkey. All processes that use the same server and prefix share the tokens.
///
/// The storage connects to one server, to the master behind [sentinels](Self::sentinel), or to a [cluster](Self::cluster).
/// Clones share one connection; in a cluster they share one to each master that has one of their tokens.
///
/// ```no_run
/// use requestforge::RedisTokenStorage;
///
/// let storage = RedisTokenStorage::builder("redis://10.0.0.5:6379/1").key_prefix("api_tokens").build()?;
/// // TokenManager::builder(provider).storage(storage).build()?
/// # Ok::<_, requestforge::ConfigError>(())
/// ```
///
/// # Guarantees
///
/// These are the guarantees for token managers that share such a storage, and their limits:
///
/// | guarantee | limit |
/// | --- | --- |
/// | All processes together make one token call per expiry or rejection | Two calls, if the process that fetches crashes or is paused for longer than the [lease](RedisTokenStorageBuilder::lease). One call per process while the server does not answer, or if a token call takes longer than three quarters of the manager's fetch time-out |
/// | If a process crashes while it fetches, another one takes over within the lease and a second | While the process hangs without a crash, the others wait |
/// | A late write replaces no newer token, and no process stores a token that was invalidated while it was fetched | The server remembers an invalidation for an hour |
/// | A refresh token is sent once, because the process marks it before. A process that finds the mark of another one uses the full grant | A process that is paused between marking and sending sends it late, when others have a token by the full grant. The manager's `refresh_when_contested` allows one more attempt, and any number without a lease |
/// | All processes back off together after a transient failure | A failure without a response counts for a second at most, since its cause may be in one process. A permanent failure counts for one process only |
/// | A hit sends no command | Once per [`recheck_after`](RedisTokenStorageBuilder::recheck_after) the manager reads the server in the background. After a renewal or an invalidation the next use reads it |
/// | All processes notice an invalidation or a new token at once, by a message over their connection | After a lost connection a process reconnects to the server, or to its successor, within a second after it is up, and makes up for missed messages half a second later. (If not even the host answers and the [`command_timeout`](RedisTokenStorageBuilder::command_timeout) is more than half a second, an attempt may take twice that.) A process notices a connection that is dead without a sign within a quarter of [`recheck_after`](RedisTokenStorageBuilder::recheck_after) and a second. Until then, and for at most [`trusted_for`](RedisTokenStorageBuilder::trusted_for), it uses its cached token; longer only if the token endpoint fails, too |
/// | An outage delays a process by one [command time-out](RedisTokenStorageBuilder::command_timeout) in total, also if the server is only slow, stays slow, or was slow when the process started. After that, calls fail at once until the server answers a probe quickly. Then a command may take a quarter of the time-out, until several were answered quickly | Answers within a quarter of the time-out do not count as slow, and a fetch sends three to six commands. Redis may still execute a command that it has not answered |
/// | Expiry counts by the server's clock, so a process with a wrong clock renews when the others do | Differences below a second are ignored |
/// | A token that is missing was invalidated | The server may also have lost it, restarted empty, or evicted it. That costs one token call |
/// | A record that cannot be read counts as no token, and the next token replaces it. The storage ignores unreadable side data | |
/// | The storage does not store a token whose record could not be read back. Each process then fetches its own token, and warns once | This concerns records over 1 MiB, or with `extra` nested more than 125 deep |
///
/// # Load on the server
///
/// A replica is one storage with one manager. The table shows its connections and its commands, as Redis 7.0 has counted
/// them, for replicas that share one token of the full grant. `cargo xtask test --suite operators --long` counts again.
///
/// | situation | 1 replica | 500 replicas |
/// | --- | --- | --- |
/// | connections | 1 | 500 |
/// | start: connecting and the first read | 14, with 23 kB; 10 of them are `SCRIPT LOAD` | 14 each, 11.5 MB in all |
/// | a connection: a `PING` each quarter of [`recheck_after`](RedisTokenStorageBuilder::recheck_after) | 1 in 1.9 to 2.5 s | 1 each |
/// | an unused token | 0 | 0 |
/// | a hit | 0 | 0 |
/// | a token in use, in 12.5 s | 1 | 1 each |
/// | rotation: the replica that renews | 3 | 3 |
/// | rotation: the others, at their next use | | 1 each |
/// | rotation: all replicas use the token during the renewal | 3 | 1,500 in all |
/// | invalidation: the replica that invalidates | 1 | 1 |
/// | no token, and one replica needs it | 3 | 3, and then 1 for each other |
/// | no token, and all replicas need it at once | 3 | 1,500 in all |
/// | waiting for a slow token call, per [`command_timeout`](RedisTokenStorageBuilder::command_timeout) | | 1 each, measured with one second |
/// | the server was down, and is back empty | | 14 each, and 14 to 171 more in all; one token call |
/// | memory of a token of 32 and of 1,000 characters | 416 and 1,488 bytes | the same |
///
/// With three sentinels the start takes 15 commands and six short connections to them. One more connection stays, over which
/// one sentinel announces failovers. Once per [`recheck_after`](RedisTokenStorageBuilder::recheck_after) the storage asks all
/// three again, because a sentinel that is cut off announces nothing. In a cluster there is one connection to each master
/// that has one of the replica's tokens. Before it connects, the storage asks each configured node (three here) over a short
/// connection, so the start takes 21 commands. While it cannot reach a master, it asks up to eight nodes before each attempt,
/// about twice a second.
///
/// # Stored data
///
/// The key `{prefix}:{key}` has the JSON record that the `RedisTokenStorage` class of the Python documents reads and writes:
/// `access_token`, `token_type`, `expires_at` (in UTC, without an offset), `refresh_token`, `scope`, `extra`. The Python class
/// takes a time without an offset for local time, so it is wrong by itself outside of UTC.
///
/// The server keeps the record until the token expires, but for at least 60 seconds. It keeps a token without an expiry for
/// ever, and a token with a refresh token as long as that lives (30 days if its lifetime is unknown).
///
/// Beside the record are the keys `{prefix:key}:meta` (when the token was issued, which process has sent its refresh token),
/// `:lease`, `:cool-down` and `:epoch`. The braces make a cluster keep all of them on one server.
///
/// The storage does not encrypt tokens. Everybody with read access to the server can use them, unless an
/// `EncryptedTokenStorage` wraps this storage.
///
/// # One server, Sentinel, Cluster
///
/// The guarantees above hold for all three. These are the differences:
///
/// | | one server | Sentinel | Cluster |
/// | --- | --- | --- | --- |
/// | The server's address | The configured one | The address that the sentinel with the newest configuration names. The storage asks the sentinels before each connection, when one of them announces another master, and once per [`recheck_after`](RedisTokenStorageBuilder::recheck_after). The server must confirm that it is the master | The address in the map of the node with the newest map. The storage asks the nodes before each connection but the first, and follows `MOVED` and `ASK` |
/// | An outage concerns | All tokens | All tokens | The tokens of the lost master, and all tokens while the cluster says that it is down |
/// | An outage ends | When the server answers | When the sentinels have agreed on another master, and this process can reach it | When a replica has been promoted |
/// | Replication is asynchronous, so a failover may lose the latest writes of a master | | A lost lease, token or cool-down costs one more token call at most. (A token that must be renewed before the failover is over costs one call per process, as in any outage.) After a lost invalidation the token may come back. After a lost mark a refresh token may be sent twice | As with Sentinel. While a slot moves, calls for its keys may continue without Redis, and an invalidation may fail |
/// | A master that is cut off from the others accepts writes for some time | | These writes are lost with it. They continue for up to [`recheck_after`](RedisTokenStorageBuilder::recheck_after) if the sentinel to which the storage listens is cut off as well. `min-replicas-to-write` on the server limits this | These writes are lost with it. They continue for up to the cluster's node time-out |
/// | Databases | Any | [`database`](RedisTokenStorageBuilder::database) | Only 0 |
///
/// With several regions, give each its own Redis. Each Redis then costs one token call per expiry, and no token waits for
/// another continent. Never share rotating refresh tokens between regions, and do not replicate them either: leases and marks
/// do not hold there, and an issuer treats a refresh token that is sent twice as stolen.
///
/// # TLS
///
/// Addresses `rediss://…` and `valkeys://…` need the feature `rustls` (`redis-tls` of requestforge) or `rustls-no-provider`
/// (`redis-tls-no-provider`). The storage always checks certificates against the system's authorities, or against those of
/// `root_certificates`. It also checks their names. In a cluster and behind sentinels it expects the names that the servers
/// announce. These are IP addresses, unless you set host names (`cluster-announce-hostname` and
/// `cluster-preferred-endpoint-type hostname`; `resolve-hostnames` and `announce-hostnames` of sentinels).
///
/// With `rustls`, the builder installs the crypto provider of aws-lc-rs if the process has none
/// (`rustls::crypto::CryptoProvider::install_default`). With `rustls-no-provider`, the program must install one before it
/// builds the storage.
///
/// # Logins and rights
///
/// The login comes from the address, from a [`SecretSource`](forge_core::SecretSource) or from a
/// [stream](RedisTokenStorageBuilder::credentials_provider), and may change at any time. With the prefix `token` the user
/// of the server needs these rights:
///
/// - the keys `~token:*` and `~{token:*}:*`, and the channel `&requestforge:token`;
/// - the commands `+select +eval +evalsha +script|load +get +set +del +strlen +type +hset +hget +hdel +expire +pexpire +pttl
///   +publish +subscribe +time +ping`;
/// - in a cluster also `+cluster|info +cluster|slots +asking`;
/// - behind sentinels also `+role`, and at the sentinels themselves `+sentinel|master +sentinel|get-master-addr-by-name
///   +subscribe +ping` and the channel `&+switch-master`.
///
/// This crate overwrites its passwords and keys in memory. It cannot overwrite the copies inside the redis crate and rustls.
///
/// # Outages
///
/// While the server cannot be used, managers continue without it. The storage logs one warning (`tracing`, level WARN) when
/// an outage begins, and one line at level INFO when it ends. To check the connection when a service starts, call
/// [`get`](forge_core::TokenStorage::get) with any key: its error names the cause.
///
/// A direct `set` or `delete` replaces any record, without regard to leases.
#[doc(alias = "DjangoCacheTokenStorage")]
#[derive(Clone)]
pub struct RedisTokenStorage(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) prefix: String,
    pub(crate) lease: Duration,
    pub(crate) servers: Servers,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) announcements: Arc<Announcements>,
    pub(crate) reported: Mutex<HashSet<String>>,
}

impl RedisTokenStorage {
    /// A storage with the default settings. The URL is `redis://host:port/db`, `valkey://…` or `redis+unix:///path`. If the
    /// server needs a login, put `user:password@` before the host, percent-encoded. The storage connects at its first use.
    ///
    /// # Errors
    ///
    /// The URL does not have one of these forms.
    pub fn new(url: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(url).build()
    }

    /// A builder for a storage with other settings, from a URL as in [`new`](Self::new).
    pub fn builder(url: impl Into<String>) -> RedisTokenStorageBuilder {
        RedisTokenStorageBuilder::new(Target::from_url(&url.into()))
    }

    /// A builder for a storage on the master that sentinels monitor under this name. The sentinels' addresses are URLs
    /// as in [`new`](Self::new). A login in them is for the sentinels; set the master's with
    /// [`username`](RedisTokenStorageBuilder::username) and [`password`](RedisTokenStorageBuilder::password).
    /// `rediss://…` applies to the master, too.
    ///
    /// ```
    /// use requestforge::{RedisTokenStorage, SecretSource};
    ///
    /// let sentinels = ["redis://10.0.0.5:26379", "redis://10.0.0.6:26379", "redis://10.0.0.7:26379"];
    /// let storage = RedisTokenStorage::sentinel(sentinels, "mymaster")
    ///     .username("tokens")
    ///     .password(SecretSource::file("/run/secrets/redis-password"))
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn sentinel(
        sentinels: impl IntoIterator<Item = impl AsRef<str>>,
        master_name: impl Into<String>,
    ) -> RedisTokenStorageBuilder {
        RedisTokenStorageBuilder::new(Target::sentinel(sentinels, master_name.into()))
    }

    /// A builder for a storage in a cluster. Pass the URLs of some nodes, as in [`new`](Self::new). The storage asks these
    /// nodes for the others, and connects to each at the address that it announces, with the same login.
    ///
    /// ```
    /// use requestforge::RedisTokenStorage;
    ///
    /// let storage = RedisTokenStorage::cluster(["redis://10.0.0.5:6379", "redis://10.0.0.6:6379"]).build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn cluster(nodes: impl IntoIterator<Item = impl AsRef<str>>) -> RedisTokenStorageBuilder {
        RedisTokenStorageBuilder::new(Target::cluster(nodes))
    }

    /// A builder for a storage on the server of an existing client.
    pub fn from_client(client: &Client) -> RedisTokenStorageBuilder {
        RedisTokenStorageBuilder::from_client(client)
    }
}

/// The content of a token's key.
pub(crate) struct KeyContent {
    pub(crate) token: Option<TokenData>,
    /// The digest of the content, even if it is unreadable.
    pub(crate) digest: String,
}

/// The answer of `present` in `common.lua`: the server's time, the kind of the content, the record, its digest, and its
/// issue time.
pub(crate) type ContentReply = (i64, String, Vec<u8>, String, String);

/// The time when a script was sent by our clock, and the clock of the server that got it. The answer has the server's time,
/// so that both together give the offset.
pub(crate) struct SendTime {
    at: i64,
    clock: Arc<ServerClock>,
}

impl SendTime {
    pub(crate) fn now(live: &LiveConnection) -> Self {
        Self { at: live.clock.local_now().wall_millis(), clock: Arc::clone(&live.clock) }
    }
}

/// A token in the form in which it is stored.
pub(crate) struct EncodedToken {
    pub(crate) record: Secret,
    /// How many seconds the server keeps it. Empty: for ever.
    pub(crate) seconds: String,
    /// The issue time in milliseconds by the server's clock. Empty: unknown.
    pub(crate) issued_at: String,
}

/// The minimum time for which the server keeps a record, in seconds, as the Python documents state it.
const MIN_LIFE_SECONDS: i64 = 60;

impl Inner {
    pub(crate) fn keys(&self, key: &str) -> Result<Keys, StorageError> {
        Keys::new(&self.prefix, key)
    }

    pub(crate) async fn read(&self, keys: &Keys) -> Result<KeyContent, StorageError> {
        let mut sent = None;
        let asking = |live: &LiveConnection| {
            let mut script = self.scripts.read.prepare_invoke();
            script.key(&keys.token).key(&keys.meta);
            sent = Some(SendTime::now(live));
            Ok(script)
        };
        let reply: ContentReply = self.servers.call(keys, asking).await?;
        Ok(self.parse_content(keys, reply, sent))
    }

    /// Reads the record in the answer of a script.
    pub(crate) fn parse_content(
        &self,
        keys: &Keys,
        reply: ContentReply,
        sent: Option<SendTime>,
    ) -> KeyContent {
        let (now, what, record, digest, issued_at) = reply;
        let record = Zeroizing::new(record);
        let token = match (what.as_str(), sent) {
            ("none", _) => None,
            ("record", Some(SendTime { at, clock })) => {
                clock.learn(at, now);
                TokenData::from_record(&*record)
                    .map(|token| with_local_times(&clock, &token, &issued_at))
                    .inspect_err(|error| self.report(keys, &digest, &error.to_string()))
                    .ok()
            }
            _ => {
                self.report(keys, &digest, "it is not a text, or too long");
                None
            }
        };
        KeyContent { token, digest }
    }

    /// Warns once for each unreadable record, without its content.
    fn report(&self, keys: &Keys, digest: &str, why: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= MAX_REPORTED {
            reported.clear();
        }
        if reported.insert(format!("{}{digest}", keys.hash)) {
            tracing::warn!(key = keys.token, why, "the stored record is not a token; treating it as a miss");
        }
    }
}

/// The stored form of a token on a server with this clock.
pub(crate) fn encode(token: &TokenData, clock: &ServerClock) -> Result<EncodedToken, StorageError> {
    let now = clock.local_now().wall();
    // The record has only the six fields that the Python class reads and writes. The issue time is stored beside it.
    let mut timeless = token.clone().without_times();
    if let Some(expires_at) = token.expires_at() {
        timeless = timeless.with_expires_at(clock.to_server(expires_at));
    }
    let record = timeless.to_record()?;
    let seconds = token.kept_until(now).map(|until| {
        let left = until.signed_duration_since(now).num_seconds();
        left.clamp(MIN_LIFE_SECONDS, TimeDelta::MAX.num_seconds() / 1_000).to_string()
    });
    let issued_at = token.issued_at().map(|at| clock.to_server(at).timestamp_millis().to_string());
    Ok(EncodedToken {
        record,
        seconds: seconds.unwrap_or_default(),
        issued_at: issued_at.unwrap_or_default(),
    })
}

/// Translates the record's expiry and the issue time beside it from the server's clock to ours.
fn with_local_times(clock: &ServerClock, read: &TokenData, issued_at: &str) -> TokenData {
    let mut token = read.clone().without_times();
    if let Some(expires_at) = read.expires_at() {
        token = token.with_expires_at(clock.to_local(expires_at));
    }
    let issued_at = issued_at.parse().ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    match issued_at {
        Some(issued_at) => token.with_issued_at(clock.to_local(issued_at)),
        None => token,
    }
}

/// Limits the memory for reports. Once it is reached, all reports are forgotten, and each record may be reported again.
const MAX_REPORTED: usize = 1_000;
/// How long the server remembers an invalidation, in milliseconds: longer than any fetch takes.
const EPOCH_LIFE_MILLIS: u64 = 3_600_000;

#[async_trait]
impl TokenStorage for RedisTokenStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(self.0.read(&self.0.keys(key)?).await?.token)
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        let keys = self.0.keys(key)?;
        let change = self.0.announcements.begin_change(&keys.hash);
        let setting = |live: &LiveConnection| {
            let encoded = encode(token, &live.clock)?;
            let mut script = self.0.scripts.set.prepare_invoke();
            script.key(&keys.token).key(&keys.meta);
            script.arg(encoded.record.expose()).arg(&encoded.seconds).arg(&encoded.issued_at);
            script.arg(self.0.announcements.channel()).arg(change.message());
            Ok(script)
        };
        self.0.servers.call::<()>(&keys, setting).await?;
        change.resolve(true);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let keys = self.0.keys(key)?;
        let change = self.0.announcements.begin_change(&keys.hash);
        let deleting = |_: &LiveConnection| {
            let mut script = self.0.scripts.delete.prepare_invoke();
            script.key(&keys.token).key(&keys.meta).key(&keys.epoch);
            script.arg(self.0.announcements.channel()).arg(change.message()).arg(EPOCH_LIFE_MILLIS);
            Ok(script)
        };
        self.0.servers.call::<()>(&keys, deleting).await?;
        change.resolve(true);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.get(key).await?.is_some())
    }

    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        keys::check_key(&self.0.prefix, key)
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        Some(self.0.announcements.generation(&self.0.keys(key).ok()?.hash))
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        Some(self)
    }
}

#[async_trait]
impl CompareAndDelete for RedisTokenStorage {
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        let keys = self.0.keys(key)?;
        let present = self.0.read(&keys).await?;
        if present.token.is_none_or(|token| token.id() != id) {
            return Ok(false);
        }
        let change = self.0.announcements.begin_change(&keys.hash);
        let deleting = |_: &LiveConnection| {
            let mut script = self.0.scripts.delete_if.prepare_invoke();
            script.key(&keys.token).key(&keys.meta);
            script.arg(self.0.announcements.channel()).arg(change.message()).arg(&present.digest);
            Ok(script)
        };
        let is_deleted = self.0.servers.call(&keys, deleting).await?;
        change.resolve(is_deleted);
        Ok(is_deleted)
    }
}

impl TokenLeases for RedisTokenStorage {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        Box::new(Lease::new(Arc::clone(&self.0), key))
    }
}

impl fmt::Debug for RedisTokenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTokenStorage")
            .field("key_prefix", &self.0.prefix)
            .field("servers", &self.0.servers)
            .finish_non_exhaustive()
    }
}
