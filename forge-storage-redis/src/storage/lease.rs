use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use forge_core::{
    CoolDown, CoolDownPolicy, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, StorageError, TokenData,
    TokenId, TokenLease, random_fraction,
};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::announcements::{Message, MessageKind};
use crate::connection::LiveConnection;
use crate::dialer::Connection;
use crate::keys::Keys;
use crate::scripts::RELEASE;
use crate::storage::{ContentReply, Inner, KeyContent, SendTime, encode};

/// A lease that the server ends by itself if its holder does not extend it.
pub(crate) struct Lease {
    storage: Arc<Inner>,
    keys: Result<Keys, StorageError>,
    /// The random name of this lease. No other lease has the same.
    owner: String,
    /// The connection over which the lease was requested. `None` if this process cannot hold the lease.
    connection: Option<Connection>,
    /// The key's epoch at the last request for the lease, whether it was granted or not. Race: a process that has given up
    /// waiting fetches without the lease. It must not store its token if the key was invalidated since. Empty: the lease was
    /// not requested.
    epoch: String,
    /// The content that the server had when it granted the lease.
    content: Option<KeyContent>,
    extension: Option<AbortHandle>,
}

/// The shortest time for which a waiter relies on announcements alone. With a very short command time-out, waiters would
/// otherwise ask the server all the time.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// A time between this and 50 ms is added to each wait. At least a millisecond, because the server counts milliseconds: a
/// waiter that asks earlier finds the lease still held. At random, so that not all waiters ask at once.
const MIN_EXTRA_WAIT: Duration = Duration::from_millis(1);
const EXTRA_WAIT_RANGE: Duration = Duration::from_millis(49);
/// How long the background task that releases a lease may take. No caller waits for it. After a failure the lease runs out
/// by itself.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest cool-down that this process reports. A longer one would stop all other processes after a single mistake.
const MAX_COOL_DOWN: Duration = Duration::from_secs(3600);
/// How long the server remembers the number of failures after the last cool-down. A failure within this time counts as one
/// more in a row.
const FAILURE_MEMORY: Duration = Duration::from_secs(300);
/// How long the mark on a refresh token stays if the token's record is missing: as long as a refresh token of unknown
/// lifetime.
const MARK_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

impl Lease {
    pub(crate) fn new(storage: Arc<Inner>, key: &str) -> Self {
        let owner = storage.announcements.new_name();
        Self {
            keys: storage.keys(key),
            storage,
            owner,
            connection: None,
            epoch: String::new(),
            content: None,
            extension: None,
        }
    }

    fn keys(&self) -> Result<Keys, StorageError> {
        self.keys.clone()
    }

    /// Requests the lease once.
    async fn request(&mut self, keys: &Keys, policy: CoolDownPolicy) -> Result<AcquireAnswer, StorageError> {
        let (storage, owner, connection) = (&self.storage, &self.owner, &mut self.connection);
        let mut sent = None;
        let asking = |live: &LiveConnection| {
            // Crash: from here on the lease may be ours, even if the answer is lost. `Drop` gives it back.
            *connection = Some(live.connection.clone());
            sent = Some(SendTime::now(live));
            let mut script = storage.scripts.acquire.prepare_invoke();
            script.key(&keys.lease).key(&keys.cool_down).key(&keys.token).key(&keys.epoch).key(&keys.meta);
            script.arg(owner).arg(millis(storage.lease)).arg(u8::from(policy == CoolDownPolicy::Respect));
            script.arg(millis(FAILURE_MEMORY));
            Ok(script)
        };
        let (what, failures, status, left, digest, epoch, record): AcquireReply =
            storage.servers.call(keys, asking).await?;
        self.epoch = epoch;
        if what == "held" {
            self.content = record.map(|record| storage.parse_content(keys, record, sent));
            return Ok(AcquireAnswer::Held { failures });
        }
        self.connection = None;
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        if what == "taken" {
            return Ok(AcquireAnswer::Taken { left, digest });
        }
        let cool_down = CoolDown::new(left, failures);
        Ok(AcquireAnswer::CoolingDown(if status == 0 { cool_down } else { cool_down.with_status(status) }))
    }

    /// Starts a task that extends the lease as long as this process runs.
    fn start_extending(&mut self, keys: &Keys) {
        let (storage, owner, keys) = (Arc::clone(&self.storage), self.owner.clone(), keys.clone());
        let extending = async move {
            loop {
                // Two of three extensions may fail before the lease runs out.
                sleep(storage.lease / 3).await;
                let extending = |_: &LiveConnection| {
                    let mut script = storage.scripts.extend.prepare_invoke();
                    script.key(&keys.lease).arg(&owner).arg(millis(storage.lease));
                    Ok(script)
                };
                // After a failed extension the next one may succeed. If the lease is lost, `store` notices.
                if matches!(storage.servers.call::<u8>(&keys, extending).await, Ok(0)) {
                    return;
                }
            }
        };
        self.extension = Some(tokio::spawn(extending).abort_handle());
    }

    /// Forgets the lease, because the server has released it.
    fn release_locally(&mut self) {
        self.connection = None;
        self.stop_extending();
    }

    fn stop_extending(&mut self) {
        if let Some(extension) = self.extension.take() {
            extension.abort();
        }
    }

    /// Tries once to store. If `read` is not empty, the script stores only over the record with this digest.
    async fn try_store(&self, keys: &Keys, token: &TokenData, read: &str) -> Result<u8, StorageError> {
        let announcements = &self.storage.announcements;
        let change = announcements.begin_change(&keys.hash);
        let storing = |live: &LiveConnection| {
            let encoded = encode(token, &live.clock)?;
            let mut script = self.storage.scripts.store.prepare_invoke();
            script.key(&keys.token).key(&keys.meta).key(&keys.lease).key(&keys.cool_down).key(&keys.epoch);
            script
                .arg(&self.owner)
                .arg(encoded.record.expose())
                .arg(&encoded.seconds)
                .arg(&encoded.issued_at);
            script.arg(announcements.channel()).arg(change.message()).arg(&self.epoch).arg(read);
            script.arg(announcements.release_message(&keys.hash));
            Ok(script)
        };
        let answer = self.storage.servers.call(keys, storing).await?;
        change.resolve(answer == STORED);
        Ok(answer)
    }
}

/// An answer of `store.lua`: the token is stored.
const STORED: u8 = 1;
/// An answer of `store.lua`: no lease holds the key, so the script needs the digest of the record that was read.
const LEASE_IS_FREE: u8 = 2;

/// The answer of `acquire.lua`, as it comes from the server.
type AcquireReply = (String, u32, u16, i64, String, String, Option<ContentReply>);

/// The answer of `acquire.lua`.
enum AcquireAnswer {
    /// This lease holds the key.
    Held {
        failures: u32,
    },
    /// Another lease holds the key for this time. The digest is that of the present record.
    Taken {
        left: Duration,
        digest: String,
    },
    CoolingDown(CoolDown),
}

#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        let keys = self.keys()?;
        // Race: subscribe before asking. Otherwise an announcement between the answer and the wait would be missed.
        let mut messages = self.storage.announcements.subscribe();
        let mut seen = None;
        loop {
            let left = match self.request(&keys, policy).await? {
                AcquireAnswer::Held { failures } => {
                    self.start_extending(&keys);
                    return Ok(LeaseOutcome::Held { failures });
                }
                AcquireAnswer::CoolingDown(cool_down) => return Ok(LeaseOutcome::CoolingDown(cool_down)),
                AcquireAnswer::Taken { digest, .. } if seen.as_ref().is_some_and(|seen| *seen != digest) => {
                    return Ok(LeaseOutcome::Changed);
                }
                AcquireAnswer::Taken { left, digest } => {
                    seen = Some(digest);
                    left
                }
            };
            // Wait until the lease has run out, but no longer than a command may take. So a waiter notices a server that has
            // vanished without closing the connection.
            let wait = left.min(self.storage.servers.command_limit().max(MIN_WAIT));
            let wait = wait + MIN_EXTRA_WAIT + EXTRA_WAIT_RANGE.mul_f64(random_fraction());
            tokio::select! {
                () = self.storage.servers.wait_until_down(&keys) => {}
                kind = next_kind_for(&keys.hash, &mut messages) => {
                    if kind == Some(MessageKind::Changed) {
                        return Ok(LeaseOutcome::Changed);
                    }
                }
                () = sleep(wait) => {}
            }
        }
    }

    fn take_read(&mut self) -> LeaseRead {
        self.content.take().map_or(LeaseRead::NotReported, |content| content.token.into())
    }

    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        let keys = self.keys()?;
        let marking = |_: &LiveConnection| {
            let mut script = self.storage.scripts.mark_refresh_token.prepare_invoke();
            script.key(&keys.lease).key(&keys.meta).key(&keys.token);
            let takeover = match takeover {
                MarkTakeover::Never => "never",
                MarkTakeover::Once => "once",
                MarkTakeover::Always => "always",
            };
            script.arg(&self.owner).arg(&id.as_bytes()[..]).arg(takeover).arg(millis(MARK_LIFE));
            Ok(script)
        };
        let (marking, age): (String, i64) = self.storage.servers.call(&keys, marking).await?;
        Ok(match marking.as_str() {
            "ours" => RefreshMark::Ours,
            "foreign" => RefreshMark::Foreign { age: u64::try_from(age).ok().map(Duration::from_millis) },
            _ => RefreshMark::LeaseLost,
        })
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        let keys = self.keys()?;
        let clearing = |_: &LiveConnection| {
            let mut script = self.storage.scripts.clear_mark.prepare_invoke();
            script.key(&keys.lease).key(&keys.meta).arg(&self.owner).arg(&id.as_bytes()[..]);
            Ok(script)
        };
        self.storage.servers.call(&keys, clearing).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        let keys = self.keys()?;
        let mut answer = self.try_store(&keys, token, "").await?;
        if answer == LEASE_IS_FREE {
            let present = self.storage.read(&keys).await?;
            answer = 0;
            if present.token.map(|token| token.id()) == read {
                answer = self.try_store(&keys, token, &present.digest).await?;
            }
        }
        self.release_locally();
        Ok(answer == STORED)
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        let keys = self.keys()?;
        let announcements = &self.storage.announcements;
        let failing = |_: &LiveConnection| {
            let mut script = self.storage.scripts.fail.prepare_invoke();
            script.key(&keys.lease).key(&keys.cool_down);
            script.arg(&self.owner).arg(announcements.channel());
            script.arg(announcements.release_message(&keys.hash));
            script
                .arg(millis(cool_down.left().min(MAX_COOL_DOWN)))
                .arg(cool_down.failures())
                .arg(cool_down.status().unwrap_or(0));
            script.arg(millis(FAILURE_MEMORY));
            Ok(script)
        };
        self.storage.servers.call::<()>(&keys, failing).await?;
        self.release_locally();
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop_extending();
        let (Some(mut connection), Ok(keys)) = (self.connection.take(), &self.keys) else { return };
        let announcements = &self.storage.announcements;
        let mut release = redis::cmd("EVAL");
        release.arg(RELEASE).arg(1).arg(&keys.lease).arg(&self.owner).arg(announcements.channel());
        release.arg(announcements.release_message(&keys.hash));
        let mut release: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { release.query_async::<()>(&mut connection.redis).await });
        // Order: the first poll sends the release now, over the connection that carried the request. So it arrives after the
        // request, and before the next command of this process. Crash: the server may have granted a request whose answer
        // was lost, so release that, too.
        let is_done = release.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if let (false, Ok(runtime)) = (is_done, Handle::try_current()) {
            runtime.spawn(timeout(RELEASE_TIMEOUT, release));
        }
    }
}

/// The kind of the next announcement for this key. `None`: this process has missed announcements.
async fn next_kind_for(hash: &str, messages: &mut Receiver<Message>) -> Option<MessageKind> {
    loop {
        match messages.recv().await {
            Ok(message) if message.hash == hash => return Some(message.kind),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return None,
            // The channel cannot close: the storage holds its sender, and the lease holds the storage.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
