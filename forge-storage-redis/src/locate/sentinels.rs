mod listening;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forge_core::{StorageError, random_fraction};
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, RedisError};
use tokio::time::{Instant, sleep};

use super::{Locate, Nowhere, list};
use crate::addresses::at;
use crate::dialer::{Dialer, Ready};
use crate::explain::explain;
use crate::link::Limits;
use crate::poll::{self, Poll};
use listening::{Heard, Listening};

/// The master that sentinels watch over. They are asked again before each attempt to connect, and tell when
/// another one takes over: the old one may be reachable for us and not for them.
pub(crate) struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    poll: Poll,
    /// To the sentinels.
    dialer: Arc<Dialer>,
    /// What they call the master.
    name: String,
    limits: Limits,
    recheck_after: Duration,
}

impl Sentinels {
    /// At these addresses, of which there is at least one.
    pub(crate) fn new(
        addresses: Vec<ConnectionAddr>,
        dialer: Arc<Dialer>,
        name: String,
        limits: Limits,
        recheck_after: Duration,
    ) -> Self {
        let recheck_after = recheck_after.clamp(SHORTEST_RECHECK, LONGEST_RECHECK);
        Self { addresses, poll: Poll::new(limits.poll()), dialer, name, limits, recheck_after }
    }

    /// What each of them is asked for.
    fn questions(&self, dialer: &Ready) -> Vec<impl Future<Output = Result<Word, StorageError>> + use<>> {
        let ask = |address: &ConnectionAddr| ask(dialer.clone(), address.clone(), self.name.clone());
        self.addresses.iter().map(ask).collect()
    }

    /// Whether another one is the master by now than at this address, where the word of this epoch has led.
    async fn is_another(&self, from: &ConnectionAddr, epoch: u64) -> Result<bool, StorageError> {
        let dialer = self.dialer.ready().await?;
        let word = self.poll.newer_than(epoch, self.questions(&dialer)).await?;
        Ok(word.epoch != epoch && self.at(word) != *from)
    }

    fn at(&self, word: Word) -> ConnectionAddr {
        at(&self.addresses[0], word.host, word.port)
    }

    /// Listens to one of them, and asks all of them now and then: one that is cut off tells nothing, and does
    /// not know it. Ends when another one is the master; or when none is to be heard, with why.
    async fn watch(&self, from: &ConnectionAddr, epoch: u64, is_deaf: &mut bool) -> Result<(), StorageError> {
        // Listen first: what happens after the answer must not be missed.
        let listening = match self.dialer.ready().await {
            Ok(dialer) => Listening::begin(&dialer, &self.addresses, self.limits.poll()).await,
            Err(error) => Err(error),
        };
        let is_another = self.is_another(from, epoch).await;
        if matches!(is_another, Ok(true)) {
            return Ok(());
        }
        let mut listening = listening?;
        is_another?;
        if std::mem::take(is_deaf) {
            tracing::info!(sentinels = %self, "a sentinel is listened to again");
        }
        loop {
            match listening.hear(self.asked_again()).await {
                Heard::Nothing => {}
                // Not all at the same moment.
                Heard::News => sleep(FIRST_PAUSE.mul_f64(random_fraction())).await,
                Heard::Lost => return Err(StorageError::new("the connection to a sentinel was lost")),
            }
            if self.is_another(from, epoch).await? {
                return Ok(());
            }
        }
    }

    fn asked_again(&self) -> Duration {
        self.recheck_after.mul_f64(1.0 - random_fraction() / 4.0)
    }
}

/// What a sentinel says. The greater the epoch, the newer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    epoch: u64,
    host: String,
    port: u16,
}

/// A sentinel that was away still names the old master.
impl poll::Word for Word {
    fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[async_trait]
impl Locate for Sentinels {
    async fn locate(&self, _dialer: &Ready) -> Result<ConnectionAddr, Nowhere> {
        let dialer = self.dialer.ready().await?;
        Ok(self.at(self.poll.newest(self.questions(&dialer)).await?))
    }

    /// Who was the master a moment ago may be none any more.
    async fn verify(&self, connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        let role: redis::Value =
            redis::cmd("ROLE").query_async(connection).await.map_err(|error| explain(&error))?;
        let role = match role {
            redis::Value::Array(parts) => parts.into_iter().next(),
            _ => None,
        };
        match role.map(redis::from_redis_value::<String>) {
            Some(Ok(role)) if role == "master" => Ok(()),
            _ => Err(StorageError::new("what the sentinels name is no master at the moment")),
        }
    }

    async fn moves(&self, from: &ConnectionAddr) {
        let epoch = self.poll.epoch();
        let (mut pause, mut is_deaf) = (FIRST_PAUSE, false);
        loop {
            let begun = Instant::now();
            let Err(error) = self.watch(from, epoch, &mut is_deaf).await else { return };
            if begun.elapsed() >= self.recheck_after {
                pause = FIRST_PAUSE;
            } else if !is_deaf && pause > FIRST_PAUSE {
                // One that is lost is soon replaced; this one was not.
                is_deaf = true;
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(%error, cause, sentinels = %self, "the sentinels do not tell of another master; asking them now and then");
            }
            sleep(pause.mul_f64(1.0 - random_fraction() / 2.0)).await;
            pause = (pause * 2).min(self.recheck_after);
        }
    }
}

/// Before sentinels are asked again that have told something, or that could not be listened to; then it
/// doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// They are asked again as often as tokens are compared, within these bounds.
const SHORTEST_RECHECK: Duration = Duration::from_secs(1);
const LONGEST_RECHECK: Duration = Duration::from_secs(3600);

async fn ask(dialer: Ready, address: ConnectionAddr, name: String) -> Result<Word, StorageError> {
    let sentinel = dialer.dial(&address).await?;
    let (mut first, mut second) = (sentinel.redis.clone(), sentinel.redis.clone());
    let (mut record, mut address) = (redis::cmd("SENTINEL"), redis::cmd("SENTINEL"));
    // While a sentinel has others follow a new master, its own record of the master has the new epoch and
    // still the old address. Both at once, and not as a pipeline, whose errors tell less.
    let (record, address): (HashMap<String, String>, Option<(String, u16)>) = tokio::try_join!(
        record.arg("MASTER").arg(&name).query_async(&mut first),
        address.arg("GET-MASTER-ADDR-BY-NAME").arg(&name).query_async(&mut second)
    )
    .map_err(|error| not_told(&error))?;
    understand(&record, address).ok_or_else(no_sentinel)
}

fn not_told(error: &RedisError) -> StorageError {
    if error.to_string().contains("No such master") {
        return StorageError::new("the sentinels know no master of this name");
    }
    match error.code() {
        Some("ERR") => no_sentinel(),
        Some("NOAUTH" | "WRONGPASS") => StorageError::new("a sentinel refused the login of its address"),
        _ => explain(error),
    }
}

fn no_sentinel() -> StorageError {
    StorageError::new("what answers there is no sentinel")
}

fn understand(record: &HashMap<String, String>, address: Option<(String, u16)>) -> Option<Word> {
    let epoch = record.get("config-epoch")?.parse().ok()?;
    let (host, port) = address.filter(|(host, _)| !host.is_empty())?;
    Some(Word { epoch, host, port })
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "master {} of the sentinels {}", self.name, list(&self.addresses))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use forge_core::{TokenData, TokenStorage};

    use super::*;
    use crate::fake::{Fake, list, master, text};
    use crate::{RedisTokenStorage, logs};

    /// What a sentinel says to whom this is the master since this epoch.
    fn sentinel(epoch: u64, port: u16) -> impl Fn(&[&str]) -> String + Send + Sync + 'static {
        move |words| match words {
            ["SENTINEL", "MASTER", ..] => list(&[text("config-epoch"), text(&epoch.to_string())]),
            ["SENTINEL", ..] => list(&[text("127.0.0.1"), text(&port.to_string())]),
            _ => master(words),
        }
    }

    /// With time for a machine that has others to serve.
    fn storage(sentinels: &[&Fake]) -> RedisTokenStorage {
        let builder = RedisTokenStorage::sentinel(sentinels.iter().map(|fake| fake.url()), "mymaster");
        builder.command_timeout(Duration::from_secs(10)).build().unwrap()
    }

    /// What is stored goes there, soon.
    async fn comes_to_use(storage: &RedisTokenStorage, server: &Fake) {
        let before = server.asked("EVALSHA");
        for _ in 0..2_000 {
            let _ = storage.set("k", &TokenData::new("t")).await;
            if server.asked("EVALSHA") > before {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it is not used");
    }

    #[tokio::test]
    async fn inv18_a_sentinel_next_door_that_is_cut_off_is_not_believed_when_another_one_has_been_heard() {
        let (old, new) = (Fake::start(master).await, Fake::start(master).await);
        let near = Fake::start(sentinel(1, old.port())).await;
        let far = Duration::from_millis(16);
        let (one, two) = (
            Fake::start_far(far, |_| sentinel(2, new.port())).await,
            Fake::start_far(far, |_| sentinel(2, new.port())).await,
        );
        let storage = storage(&[&near, &one, &two]);
        comes_to_use(&storage, &new).await;
        let before = old.asked("EVALSHA");
        for _ in 0..50 {
            storage.set("k", &TokenData::new("t")).await.unwrap();
        }
        assert_eq!(old.asked("EVALSHA"), before);

        // And not before the next connection, either.
        let (old_ones, new_ones) = (old.accepted(), new.accepted());
        for _ in 0..5 {
            new.cut();
            comes_to_use(&storage, &new).await;
        }
        assert_eq!((old.accepted() - old_ones, new.accepted() - new_ones), (0, 5));
    }

    #[tokio::test]
    async fn inv19_sentinels_that_tell_nothing_are_asked_again() {
        let (old, new) = (Fake::start(master).await, Fake::start(master).await);
        let (present, is_known) = (new.port(), Arc::new(AtomicBool::new(false)));
        let knows = Arc::clone(&is_known);
        let before = old.port();
        let changing = Fake::start(move |words: &[&str]| {
            if knows.load(Ordering::SeqCst) {
                sentinel(2, present)(words)
            } else {
                sentinel(1, before)(words)
            }
        });
        // The other one is cut off, and goes on answering.
        let (one, two) = (Fake::start(sentinel(1, old.port())).await, changing.await);
        let builder = RedisTokenStorage::sentinel([one.url(), two.url()], "mymaster");
        let builder = builder.command_timeout(Duration::from_secs(10)).recheck_after(Duration::from_secs(1));
        let storage = builder.build().unwrap();
        comes_to_use(&storage, &old).await;
        while one.asked("SUBSCRIBE") + two.asked("SUBSCRIBE") == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        is_known.store(true, Ordering::SeqCst);
        comes_to_use(&storage, &new).await;
    }

    #[tokio::test]
    async fn sentinels_that_do_not_let_us_listen_are_asked_less_and_less_and_named_once() {
        logs::keep();
        let master = Fake::start(master).await;
        let deaf = |port: u16| {
            move |words: &[&str]| match words {
                ["SUBSCRIBE", _] => "-NOPERM no\r\n".to_owned(),
                _ => sentinel(1, port)(words),
            }
        };
        let (one, two) = (Fake::start(deaf(master.port())).await, Fake::start(deaf(master.port())).await);
        let storage = storage(&[&one, &two]);
        comes_to_use(&storage, &master).await;
        let port = one.port().to_string();
        while logs::lines("WARN", &[&port]).is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        let before = one.accepted();
        // Four times more in this time, at most, and then every ten seconds.
        sleep(Duration::from_secs(4)).await;
        assert!(one.accepted() - before <= 8, "{} connections", one.accepted() - before);
        let lines = logs::lines("WARN", &[&port]);
        assert!(lines.len() == 1 && lines[0].contains("NOPERM"), "{lines:?}");
    }

    fn word(epoch: Option<&str>, address: Option<(&str, u16)>) -> Option<Word> {
        let record = epoch.map(|epoch| ("config-epoch".to_owned(), epoch.to_owned()));
        understand(&record.into_iter().collect(), address.map(|(host, port)| (host.to_owned(), port)))
    }

    #[test]
    fn what_a_sentinel_says_has_an_address_and_an_epoch() {
        let address = Some(("10.0.0.5", 6379));
        let expected = Word { epoch: 7, host: "10.0.0.5".to_owned(), port: 6379 };
        assert_eq!(word(Some("7"), address), Some(expected));
        for (epoch, address) in
            [(None, address), (Some("7"), None), (Some("7"), Some(("", 6379))), (Some("-1"), address)]
        {
            assert_eq!(word(epoch, address), None, "{epoch:?} {address:?}");
        }
    }
}
