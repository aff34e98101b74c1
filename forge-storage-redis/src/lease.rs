use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use forge_core::{
    Acquired, CoolDown, MarkTakeover, Seen, Spending, StorageError, TokenData, TokenId, TokenLease,
    random_fraction,
};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::announcements::{Message, News};
use crate::dialer::Connection;
use crate::keys::Keys;
use crate::link::Up;
use crate::scripts::RELEASE;
use crate::storage::{Asked, Inner, Present, ToldRecord, written};

/// A lease that ends by itself when nobody extends it.
pub(crate) struct Lease {
    storage: Arc<Inner>,
    keys: Result<Keys, StorageError>,
    /// Tells our lease from all others.
    owner: String,
    /// Over which it was asked for, while it may be ours.
    connection: Option<Connection>,
    /// The key's epoch when the lease was last requested, whether or not it was given. Race: a process that
    /// gave up waiting fetches without the lease; it must not store a token over an invalidation that came
    /// since. Empty: the lease was not requested.
    epoch: String,
    /// What was there when it was given.
    seen: Option<Present>,
    extension: Option<AbortHandle>,
}

/// How long a waiter relies on being told of a change, at least.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// Added to each wait, with a random part of the range.
const MIN_EXTRA_WAIT: Duration = Duration::from_millis(1);
const EXTRA_WAIT_RANGE: Duration = Duration::from_millis(49);
/// Giving a lease back is worth that much waiting, by nobody in particular.
const LAST_WORD: Duration = Duration::from_secs(1);
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(3600);
/// How long failures in a row are counted after the last one's cool-down.
const COUNT_FAILURES: Duration = Duration::from_secs(300);
/// How long the mark on a refresh token stays whose record is not there.
const KEEP_MARK: Duration = Duration::from_secs(30 * 24 * 3600);

impl Lease {
    pub(crate) fn new(storage: Arc<Inner>, key: &str) -> Self {
        let owner = storage.announcements.new_name();
        Self {
            keys: storage.keys(key),
            storage,
            owner,
            connection: None,
            epoch: String::new(),
            seen: None,
            extension: None,
        }
    }

    fn keys(&self) -> Result<Keys, StorageError> {
        self.keys.clone()
    }

    /// Asks once for the lease.
    async fn ask(&mut self, keys: &Keys, heed_cool_down: bool) -> Result<Answer, StorageError> {
        let (storage, owner, connection) = (&self.storage, &self.owner, &mut self.connection);
        let mut asked = None;
        let asking = |up: &Up| {
            // From here on it may be ours, whether we hear of it or not.
            *connection = Some(up.connection.clone());
            asked = Some(Asked::now(up));
            let mut script = storage.scripts.acquire.prepare_invoke();
            script.key(&keys.lease).key(&keys.cool_down).key(&keys.token).key(&keys.epoch).key(&keys.meta);
            script.arg(owner).arg(millis(storage.lease)).arg(u8::from(heed_cool_down));
            script.arg(millis(COUNT_FAILURES));
            Ok(script)
        };
        let (what, failures, status, left, digest, epoch, record): Told =
            storage.servers.call(keys, asking).await?;
        self.epoch = epoch;
        if what == "held" {
            self.seen = record.map(|record| storage.present(keys, record, asked));
            return Ok(Answer::Held { failures });
        }
        self.connection = None;
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        if what == "taken" {
            return Ok(Answer::Taken { left, digest });
        }
        let cool_down = CoolDown::new(left, failures);
        Ok(Answer::CoolingDown(if status == 0 { cool_down } else { cool_down.with_status(status) }))
    }

    /// Keeps the lease ours for as long as we live, and are not paused.
    fn keep_extending(&mut self, keys: &Keys) {
        let (storage, owner, keys) = (Arc::clone(&self.storage), self.owner.clone(), keys.clone());
        let extending = async move {
            loop {
                sleep(storage.lease / 3).await;
                let extending = |_: &Up| {
                    let mut script = storage.scripts.extend.prepare_invoke();
                    script.key(&keys.lease).arg(&owner).arg(millis(storage.lease));
                    Ok(script)
                };
                // When it fails the next one may not; when the lease is lost, storing finds that out.
                if matches!(storage.servers.call::<u8>(&keys, extending).await, Ok(0)) {
                    return;
                }
            }
        };
        self.extension = Some(tokio::spawn(extending).abort_handle());
    }

    /// It is given back, as the server says.
    fn is_over(&mut self) {
        self.connection = None;
        self.stop_extending();
    }

    fn stop_extending(&mut self) {
        if let Some(extension) = self.extension.take() {
            extension.abort();
        }
    }

    /// Stores once; `read` names what was read, if that is to be compared.
    async fn try_store(&self, keys: &Keys, token: &TokenData, read: &str) -> Result<u8, StorageError> {
        let announcements = &self.storage.announcements;
        let change = announcements.change(&keys.hash);
        let storing = |up: &Up| {
            let written = written(token, &up.clock)?;
            let mut script = self.storage.scripts.store.prepare_invoke();
            script.key(&keys.token).key(&keys.meta).key(&keys.lease).key(&keys.cool_down).key(&keys.epoch);
            script
                .arg(&self.owner)
                .arg(written.record.expose())
                .arg(&written.seconds)
                .arg(&written.issued_at);
            script.arg(announcements.channel()).arg(change.message()).arg(&self.epoch).arg(read);
            script.arg(announcements.released(&keys.hash));
            Ok(script)
        };
        let answer = self.storage.servers.call(keys, storing).await?;
        change.settle(answer == STORED);
        Ok(answer)
    }
}

const STORED: u8 = 1;
const NOBODY_HOLDS_IT: u8 = 2;

/// As `acquire.lua` says.
type Told = (String, u32, u16, i64, String, String, Option<ToldRecord>);

enum Answer {
    Held { failures: u32 },
    Taken { left: Duration, digest: String },
    CoolingDown(CoolDown),
}

#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, heed_cool_down: bool) -> Result<Acquired, StorageError> {
        let keys = self.keys()?;
        // Listen first: what happens after the answer must not be missed.
        let mut news = self.storage.announcements.listen();
        let mut seen = None;
        loop {
            let left = match self.ask(&keys, heed_cool_down).await? {
                Answer::Held { failures } => {
                    self.keep_extending(&keys);
                    return Ok(Acquired::Held { failures });
                }
                Answer::CoolingDown(cool_down) => return Ok(Acquired::CoolingDown(cool_down)),
                Answer::Taken { digest, .. } if seen.as_ref().is_some_and(|seen| *seen != digest) => {
                    return Ok(Acquired::Changed);
                }
                Answer::Taken { left, digest } => {
                    seen = Some(digest);
                    left
                }
            };
            // Some milliseconds more, each another number: it must have run out, and not all ask at once.
            // And not for long: a server that is gone without a sign must be noticed.
            let wait = left.min(self.storage.servers.command_limit().max(SHORTEST_WAIT));
            let wait = wait + MIN_EXTRA_WAIT + EXTRA_WAIT_RANGE.mul_f64(random_fraction());
            tokio::select! {
                () = self.storage.servers.go_down(&keys) => {}
                heard = news_of(&keys.hash, &mut news) => {
                    if heard == Some(News::Changed) {
                        return Ok(Acquired::Changed);
                    }
                }
                () = sleep(wait) => {}
            }
        }
    }

    fn seen(&mut self) -> Seen {
        self.seen.take().map_or(Seen::Untold, |present| present.token.into())
    }

    async fn spend(&mut self, id: TokenId, takeover: MarkTakeover) -> Result<Spending, StorageError> {
        let keys = self.keys()?;
        let spending = |_: &Up| {
            let mut script = self.storage.scripts.spend.prepare_invoke();
            script.key(&keys.lease).key(&keys.meta).key(&keys.token);
            let takeover = match takeover {
                MarkTakeover::Never => "never",
                MarkTakeover::Once => "once",
                MarkTakeover::Always => "always",
            };
            script.arg(&self.owner).arg(&id.as_bytes()[..]).arg(takeover).arg(millis(KEEP_MARK));
            Ok(script)
        };
        let (spending, age): (String, i64) = self.storage.servers.call(&keys, spending).await?;
        Ok(match spending.as_str() {
            "ours" => Spending::Ours,
            "foreign" => Spending::Foreign { age: u64::try_from(age).ok().map(Duration::from_millis) },
            _ => Spending::LeaseLost,
        })
    }

    async fn unspend(&mut self, id: TokenId) -> Result<(), StorageError> {
        let keys = self.keys()?;
        let unspending = |_: &Up| {
            let mut script = self.storage.scripts.unspend.prepare_invoke();
            script.key(&keys.lease).key(&keys.meta).arg(&self.owner).arg(&id.as_bytes()[..]);
            Ok(script)
        };
        self.storage.servers.call(&keys, unspending).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        let keys = self.keys()?;
        let mut answer = self.try_store(&keys, token, "").await?;
        if answer == NOBODY_HOLDS_IT {
            let present = self.storage.read(&keys).await?;
            answer = 0;
            if present.token.map(|token| token.id()) == read {
                answer = self.try_store(&keys, token, &present.digest).await?;
            }
        }
        self.is_over();
        Ok(answer == STORED)
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        let keys = self.keys()?;
        let announcements = &self.storage.announcements;
        let failing = |_: &Up| {
            let mut script = self.storage.scripts.fail.prepare_invoke();
            script.key(&keys.lease).key(&keys.cool_down);
            script.arg(&self.owner).arg(announcements.channel());
            script.arg(announcements.released(&keys.hash));
            script
                .arg(millis(cool_down.left().min(LONGEST_COOL_DOWN)))
                .arg(cool_down.failures())
                .arg(cool_down.status().unwrap_or(0));
            script.arg(millis(COUNT_FAILURES));
            Ok(script)
        };
        self.storage.servers.call::<()>(&keys, failing).await?;
        self.is_over();
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
        release.arg(announcements.released(&keys.hash));
        let mut release: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { release.query_async::<()>(&mut connection.redis).await });
        // Sent before anything that its owner sends after this, over the connection on which it was asked
        // for: if that was not answered in time, the lease may be ours without our knowing.
        let is_done = release.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if let (false, Ok(runtime)) = (is_done, Handle::try_current()) {
            runtime.spawn(timeout(LAST_WORD, release));
        }
    }
}

/// `None`: something was missed.
async fn news_of(hash: &str, news: &mut Receiver<Message>) -> Option<News> {
    loop {
        match news.recv().await {
            Ok(message) if message.hash == hash => return Some(message.news),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return None,
            // It is the storage that sends, and we hold that.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
