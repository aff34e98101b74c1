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
use crate::builder::RedisTokenStorageBuilder;
use crate::connection::LiveConnection;
use crate::keys::{self, Keys};
use crate::lease::Lease;
use crate::scripts::Scripts;
use crate::server_clock::ServerClock;
use crate::servers::Servers;
use crate::target::Target;

/// Tokens in Redis 7 or Valkey, shared by all processes that use the same server and prefix: one server, the
/// master that [sentinels](Self::sentinel) watch over, or a [cluster](Self::cluster). Clones share one
/// connection (in a cluster one to each master that has a token of theirs).
///
/// ```no_run
/// use requestforge::RedisTokenStorage;
///
/// let storage = RedisTokenStorage::builder("redis://10.0.0.5:6379/1").key_prefix("api_tokens").build()?;
/// // TokenManager::builder(provider).storage(storage).build()?
/// # Ok::<_, requestforge::ConfigError>(())
/// ```
///
/// The guarantees to token managers over such storages, and their limits:
///
/// | guarantee | limit |
/// | --- | --- |
/// | One token call per expiry or rejection, however many processes | Two, if the one that fetches dies or is paused for longer than the [lease](RedisTokenStorageBuilder::lease); one per process while the server does not answer, or where a token call takes longer than three quarters of the manager's fetch time-out |
/// | A process that dies while it fetches is replaced within the lease and a second | While it lives and hangs, the others wait |
/// | A late write replaces nothing newer, and what was invalidated while it was fetched is not stored | An invalidation is remembered for an hour |
/// | A refresh token is sent once: the process marks it before. A process that finds another one's mark uses the full grant | A process that is paused between marking and sending sends it late, when others have a token by the full grant. The manager's `refresh_when_contested` allows one more try, and any number without a lease |
/// | Transient failures are backed off from together | Those without an answer for a second at most, since they may be one's own; permanent ones never are |
/// | A hit sends no command | Once per [`recheck_after`](RedisTokenStorageBuilder::recheck_after) the server is asked in the background; a new or invalidated token is read by the next use |
/// | An invalidation or a new token is noticed by all processes at once, by a message over the one connection | A connection that is lost is back within a second of the server, or of its successor, and half a second later what was missed is made up for (where not even its host answers and the [`command_timeout`](RedisTokenStorageBuilder::command_timeout) is more than half a second, an attempt may last twice that); one that is dead without a sign is found within a quarter of [`recheck_after`](RedisTokenStorageBuilder::recheck_after) and a second. Up to then, and for at most [`trusted_for`](RedisTokenStorageBuilder::trusted_for), the token at hand is used; longer only where the token endpoint fails, too |
/// | An outage delays a process by one [command time-out](RedisTokenStorageBuilder::command_timeout) in total, also if the server is only slow, stays slow, or was slow when the process started. After that, calls fail at once until the server answers a probe quickly, and then a command may take a quarter of the time-out until several were answered quickly | Answers within a quarter of the time-out do not count as slow, and a fetch sends three to six commands. Redis may still carry out a command that it has not answered |
/// | Expiry is by the server's clock: a process whose own is wrong renews when the others do | Differences below a second are ignored |
/// | A token that is not there was invalidated | Also where the server has lost it, restarted empty or short of memory: one token call |
/// | A record that cannot be read counts as no token, and the next token replaces it. Unreadable side data is ignored | |
/// | A token whose record could not be read back is not stored: each process fetches a token of its own, and warns once | This concerns records over 1 MiB, or with `extra` nested more than 125 deep |
///
/// # What it costs the server
///
/// A replica is one storage with one manager. These are its connections and the commands that it sends, as
/// Redis 7.0 has counted them, for replicas that share one token of the full grant;
/// `cargo xtask test --suite operators --long` counts again.
///
/// | situation | 1 replica | 500 replicas |
/// | --- | --- | --- |
/// | connections | 1 | 500 |
/// | start: connecting and the first read | 14, with 23 kB; 10 of them are `SCRIPT LOAD` | 14 each, 11.5 MB in all |
/// | a connection: a `PING` each quarter of [`recheck_after`](RedisTokenStorageBuilder::recheck_after) | 1 in 1.9 to 2.5 s | 1 each |
/// | a token that nobody uses | 0 | 0 |
/// | a hit | 0 | 0 |
/// | a token in use, in 12.5 s | 1 | 1 each |
/// | rotation: the replica that renews | 3 | 3 |
/// | rotation: the others, at their next use | | 1 each |
/// | rotation: all notice while it is renewed | 3 | 1,500 in all |
/// | invalidation: the replica that invalidates | 1 | 1 |
/// | no token, and one asks | 3 | 3, and then 1 for each other |
/// | no token, and all ask at once | 3 | 1,500 in all |
/// | waiting for a slow token call, per [`command_timeout`](RedisTokenStorageBuilder::command_timeout) | | 1 each, seen with one second |
/// | the server was away, and is back empty | | 14 each, and 14 to 171 more in all; one token call |
/// | memory of a token of 32 and of 1,000 characters | 416 and 1,488 bytes | the same |
///
/// With three sentinels the start takes 15 commands and six short connections to them. One more connection stays,
/// over which one sentinel announces failovers. Once per [`recheck_after`](RedisTokenStorageBuilder::recheck_after)
/// the storage asks all three again, because a sentinel that is cut off announces nothing. In a cluster there is one
/// connection to each master that has a token of the replica's. Before, the storage asks each node that was named,
/// three here, over a short connection, so the start takes 21 commands. While a master cannot be reached, it asks up
/// to eight nodes before each attempt, about twice a second.
///
/// # What is stored
///
/// Under `{prefix}:{key}` the JSON record that the documents' own `RedisTokenStorage` class reads and
/// writes: `access_token`, `token_type`, `expires_at` (naive, UTC), `refresh_token`, `scope`, `extra`. That
/// class takes naive times for local time, so elsewhere than in UTC it is wrong by itself. The record
/// is kept until it expires, at least 60 seconds; for ever without an expiry; with a refresh token as long
/// as that lives, 30 days if that is not known. Beside it are the keys `{prefix:key}:meta` (when the token was
/// issued, which process has sent its refresh token), `:lease`, `:cool-down` and `:epoch`. The braces make a cluster
/// keep all of them on one server. Tokens are not encrypted, so everybody with read access to the server can use
/// them, unless an `EncryptedTokenStorage` (crate `forge-storage-encrypted`) wraps this storage.
///
/// # One server, Sentinel, Cluster
///
/// The table above holds for all three. What differs:
///
/// | | one server | Sentinel | Cluster |
/// | --- | --- | --- | --- |
/// | Where it is | At its address | What the sentinel with the newest configuration says, asked before each connection, when one of them tells of another master, and once per [`recheck_after`](RedisTokenStorageBuilder::recheck_after); it must say of itself that it is the master | What the node with the newest map says, asked before each connection but the first; `MOVED` and `ASK` are followed |
/// | An outage concerns | All tokens | All tokens | Those of the master that is gone, and all while the cluster itself says that it is down |
/// | It ends | When the server answers | When the sentinels have agreed on another master, and it can be reached | When a replica has been promoted |
/// | Replication is asynchronous, so what a master has just accepted may be lost with it | | A lost lease, token or cool-down: one more token call at most. (What has to be renewed before another one has taken over costs one per process, as in any outage.) A lost invalidation: the token may come back. A lost mark: a refresh token may be sent twice | As with Sentinel. While a slot moves, calls that concern its keys may go without Redis, and an invalidation may be refused |
/// | A master that is cut off from the others goes on accepting writes for a while | | They are lost with it, and are made for up to [`recheck_after`](RedisTokenStorageBuilder::recheck_after) where the sentinel that is listened to is cut off as well; `min-replicas-to-write` on the server bounds it | They are lost with it, within the cluster's node time-out |
/// | Databases | Any | [`database`](RedisTokenStorageBuilder::database) | Only 0 |
///
/// In several regions let each have a Redis of its own: one token call per expiry and Redis, and no token waits
/// for another continent. Never share rotating refresh tokens across regions, also not through replication
/// between them: no lease or mark holds there, and issuers take a refresh token that is sent twice for stolen.
///
/// # TLS
///
/// Addresses `rediss://…` and `valkeys://…` take the feature `rustls` (`redis-tls` of requestforge) or
/// `rustls-no-provider` (`redis-tls-no-provider`). Certificates are always checked, against the system's authorities or
/// those given as `root_certificates`, also for the name: in a cluster and behind sentinels for what the
/// servers announce, which are IP addresses unless they are told otherwise (`cluster-announce-hostname` and
/// `cluster-preferred-endpoint-type hostname`; `resolve-hostnames` and `announce-hostnames` of sentinels). With `rustls`, where the process has no crypto provider
/// (`rustls::crypto::CryptoProvider::install_default`), that of aws-lc-rs is installed when a storage with
/// such an address is built; with `rustls-no-provider` the program installs one before it builds the storage.
///
/// # Logins and rights
///
/// A login stands in the address, or comes from a [`SecretSource`](forge_core::SecretSource) or a
/// [stream](RedisTokenStorageBuilder::credentials_provider), and may change at any time. A user of the server
/// needs, for the prefix `token`: keys `~token:*` and `~{token:*}:*`, the channel `&requestforge:token`, and
/// the commands `+select +eval +evalsha +script|load +get +set +del +strlen +type +hset +hget +hdel +expire
/// +pexpire +pttl +publish +subscribe +time +ping`; in a cluster also `+cluster|info +cluster|slots +asking`;
/// behind sentinels also `+role`, and at the sentinels themselves `+sentinel|master
/// +sentinel|get-master-addr-by-name +subscribe +ping` and the channel `&+switch-master`.
///
/// Passwords and keys are wiped from memory where they are this crate's; copies inside the redis crate and
/// rustls are not.
///
/// # When it is gone
///
/// While the server cannot be used, for whatever reason, managers go on without it. The storage logs one warning
/// (`tracing`, level WARN) when an outage begins, and one line at level INFO when it ends. To check the connection when
/// a service starts, call [`get`](forge_core::TokenStorage::get) with any key: its error says what is wrong.
///
/// A direct `set` or `delete` replaces any record, without regard to leases.
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
    /// A storage with the default settings: `redis://host:port/db`, with `user:password@` before the host
    /// where the server asks for a login, percent-encoded; or `valkey://…`, or `redis+unix:///path`. Nothing is
    /// sent before the first use.
    ///
    /// # Errors
    ///
    /// The URL is not that of a Redis server.
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
    /// use requestforge::RedisTokenStorage;
    ///
    /// let sentinels = ["redis://10.0.0.5:26379", "redis://10.0.0.6:26379", "redis://10.0.0.7:26379"];
    /// let storage = RedisTokenStorage::sentinel(sentinels, "mymaster")
    ///     .username("tokens")
    ///     .password(requestforge::SecretSource::file("/run/secrets/redis-password"))
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn sentinel(
        sentinels: impl IntoIterator<Item = impl AsRef<str>>,
        master_name: impl Into<String>,
    ) -> RedisTokenStorageBuilder {
        RedisTokenStorageBuilder::new(Target::sentinel(sentinels, master_name.into()))
    }

    /// A builder for a storage in a cluster, of which some nodes are named by URLs as in [`new`](Self::new). The storage
    /// asks them for the others, and connects to each at the address that it announces, with the same login.
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
    /// The digest of the content, whatever it is.
    pub(crate) digest: String,
}

/// The answer of `present` in `common.lua`.
pub(crate) type ContentReply = (i64, String, Vec<u8>, String, String);

/// The server to which a script was sent, and when by our clock. The answer has the server's time.
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
    /// How many seconds the server keeps it; empty: for ever.
    pub(crate) seconds: String,
    /// The issue time in milliseconds by the server's clock; empty: unknown.
    pub(crate) issued_at: String,
}

/// The minimum that the documents state.
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
                self.report(keys, &digest, "no text, or too long");
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
            tracing::warn!(
                key = keys.token,
                why,
                "what is stored here is no token; going on as if there were none"
            );
        }
    }
}

/// The stored form of a token on a server with this clock.
pub(crate) fn encode(token: &TokenData, clock: &ServerClock) -> Result<EncodedToken, StorageError> {
    let now = clock.local_now().wall();
    // The record has the six fields that the documents' own class reads and writes, no more.
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

/// Translates times from the server's clock: the record's expiry and the issue time beside it.
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
