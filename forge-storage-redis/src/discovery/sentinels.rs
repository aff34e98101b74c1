mod subscription;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forge_core::{StorageError, random_fraction};
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, RedisError};
use tokio::time::{Instant, sleep};

use super::{Discovery, DiscoveryError, list};
use crate::addresses::at;
use crate::dialer::{Dialer, ReadyDialer};
use crate::explain::explain;
use crate::limits::Limits;
use crate::topology::{self, TopologyQuery};
use subscription::{ListenOutcome, SentinelSubscription};

/// Finds the master through its sentinels. It asks them before each attempt to connect. While connected it listens for a
/// failover, because this process may still reach the old master.
pub(crate) struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    topology: TopologyQuery,
    /// Connects to the sentinels.
    dialer: Arc<Dialer>,
    /// The master's name in the sentinels' configuration.
    name: String,
    limits: Limits,
    recheck_after: Duration,
}

impl Sentinels {
    /// A discovery through the sentinels at these addresses, of which there is at least one.
    pub(crate) fn new(
        addresses: Vec<ConnectionAddr>,
        dialer: Arc<Dialer>,
        name: String,
        limits: Limits,
        recheck_after: Duration,
    ) -> Self {
        let recheck_after = recheck_after.clamp(MIN_RECHECK, MAX_RECHECK);
        Self {
            addresses,
            topology: TopologyQuery::new(limits.discovery()),
            dialer,
            name,
            limits,
            recheck_after,
        }
    }

    /// The questions to all sentinels.
    fn questions(
        &self,
        dialer: &ReadyDialer,
    ) -> Vec<impl Future<Output = Result<MasterAnswer, StorageError>> + use<>> {
        let ask = |address: &ConnectionAddr| ask(dialer.clone(), address.clone(), self.name.clone());
        self.addresses.iter().map(ask).collect()
    }

    /// Whether another server is the master now than the one at this address, which an answer of this epoch has named.
    async fn is_another(&self, from: &ConnectionAddr, epoch: u64) -> Result<bool, StorageError> {
        let dialer = self.dialer.ready().await?;
        let answer = self.topology.newer_than(epoch, self.questions(&dialer)).await?;
        Ok(answer.epoch != epoch && self.at(answer) != *from)
    }

    fn at(&self, answer: MasterAnswer) -> ConnectionAddr {
        at(&self.addresses[0], answer.host, answer.port)
    }

    /// Listens to one sentinel, and asks all of them at intervals, because a sentinel that is cut off announces nothing.
    /// Returns when another server is the master.
    ///
    /// # Errors
    ///
    /// No sentinel accepts a subscription, or none answers.
    async fn watch(
        &self,
        from: &ConnectionAddr,
        epoch: u64,
        is_unheard: &mut bool,
    ) -> Result<(), StorageError> {
        // Race: subscribe before asking. Otherwise a failover between the answer and the subscription would be missed.
        let subscription = match self.dialer.ready().await {
            Ok(dialer) => SentinelSubscription::open(&dialer, &self.addresses, self.limits.discovery()).await,
            Err(error) => Err(error),
        };
        let is_another = self.is_another(from, epoch).await;
        if matches!(is_another, Ok(true)) {
            return Ok(());
        }
        let mut subscription = subscription?;
        is_another?;
        if std::mem::take(is_unheard) {
            tracing::info!(sentinels = %self, "listening to a sentinel again");
        }
        loop {
            match subscription.listen_for(self.recheck_interval()).await {
                ListenOutcome::TimeOver => {}
                // The pause is random, so that not all replicas ask at once.
                ListenOutcome::Failover => sleep(INITIAL_PAUSE.mul_f64(random_fraction())).await,
                ListenOutcome::ConnectionLost => {
                    return Err(StorageError::new("the connection to a sentinel was lost"));
                }
            }
            if self.is_another(from, epoch).await? {
                return Ok(());
            }
        }
    }

    fn recheck_interval(&self) -> Duration {
        self.recheck_after.mul_f64(1.0 - random_fraction() / 4.0)
    }
}

/// The master that a sentinel names. The greater the epoch, the newer the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MasterAnswer {
    epoch: u64,
    host: String,
    port: u16,
}

/// Crash: a sentinel that was down or cut off still names the old master. Its epoch is smaller.
impl topology::TopologyAnswer for MasterAnswer {
    fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[async_trait]
impl Discovery for Sentinels {
    async fn locate(&self, _dialer: &ReadyDialer) -> Result<ConnectionAddr, DiscoveryError> {
        let dialer = self.dialer.ready().await?;
        Ok(self.at(self.topology.newest(self.questions(&dialer)).await?))
    }

    /// Race: the master may have been demoted since the sentinels named it.
    async fn verify(&self, connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        let role: redis::Value =
            redis::cmd("ROLE").query_async(connection).await.map_err(|error| explain(&error))?;
        let role = match role {
            redis::Value::Array(parts) => parts.into_iter().next(),
            _ => None,
        };
        match role.map(redis::from_redis_value::<String>) {
            Some(Ok(role)) if role == "master" => Ok(()),
            _ => Err(StorageError::new("the server that the sentinels name is not a master now")),
        }
    }

    async fn wait_until_moved(&self, from: &ConnectionAddr) {
        let epoch = self.topology.epoch();
        let (mut pause, mut is_unheard) = (INITIAL_PAUSE, false);
        loop {
            let begun = Instant::now();
            let Err(error) = self.watch(from, epoch, &mut is_unheard).await else { return };
            if begun.elapsed() >= self.recheck_after {
                pause = INITIAL_PAUSE;
            } else if !is_unheard && pause > INITIAL_PAUSE {
                // This is the second failure in a row. The first one is not worth a warning: usually another sentinel accepts
                // the subscription at once.
                is_unheard = true;
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(%error, cause, sentinels = %self, "no sentinel announces failovers to this process; asking all of them at intervals");
            }
            sleep(pause.mul_f64(1.0 - random_fraction() / 2.0)).await;
            pause = (pause * 2).min(self.recheck_after);
        }
    }
}

/// The pause after an announcement, and after a failed subscription. It doubles with each further failure. Half a second is
/// short beside a failover, and spreads the questions of all replicas.
const INITIAL_PAUSE: Duration = Duration::from_millis(500);
/// The limits of the interval at which this process asks all sentinels. The interval follows `recheck_after`. A shorter one
/// would load the sentinels; a longer one means "never".
const MIN_RECHECK: Duration = Duration::from_secs(1);
const MAX_RECHECK: Duration = Duration::from_secs(3600);

async fn ask(
    dialer: ReadyDialer,
    address: ConnectionAddr,
    name: String,
) -> Result<MasterAnswer, StorageError> {
    let sentinel = dialer.dial(&address).await?;
    let (mut first, mut second) = (sentinel.redis.clone(), sentinel.redis.clone());
    let (mut record, mut address) = (redis::cmd("SENTINEL"), redis::cmd("SENTINEL"));
    // Race: while a sentinel makes the replicas follow a new master, its record of the master has the new epoch but still
    // the old address. So ask for the address as well. Two concurrent commands instead of a pipeline, because the errors of
    // a pipeline say less.
    let (record, address): (HashMap<String, String>, Option<(String, u16)>) = tokio::try_join!(
        record.arg("MASTER").arg(&name).query_async(&mut first),
        address.arg("GET-MASTER-ADDR-BY-NAME").arg(&name).query_async(&mut second)
    )
    .map_err(|error| ask_error(&error))?;
    parse_answer(&record, address).ok_or_else(not_a_sentinel_error)
}

fn ask_error(error: &RedisError) -> StorageError {
    if error.to_string().contains("No such master") {
        return StorageError::new("the sentinels know no master with this name");
    }
    match error.code() {
        Some("ERR") => not_a_sentinel_error(),
        Some("NOAUTH" | "WRONGPASS") => StorageError::new("a sentinel refused the login of its address"),
        _ => explain(error),
    }
}

fn not_a_sentinel_error() -> StorageError {
    StorageError::new("the server at this address is not a sentinel")
}

fn parse_answer(record: &HashMap<String, String>, address: Option<(String, u16)>) -> Option<MasterAnswer> {
    let epoch = record.get("config-epoch")?.parse().ok()?;
    let (host, port) = address.filter(|(host, _)| !host.is_empty())?;
    Some(MasterAnswer { epoch, host, port })
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

    /// The answers of a sentinel for which this is the master since this epoch.
    fn sentinel(epoch: u64, port: u16) -> impl Fn(&[&str]) -> String + Send + Sync + 'static {
        move |words| match words {
            ["SENTINEL", "MASTER", ..] => list(&[text("config-epoch"), text(&epoch.to_string())]),
            ["SENTINEL", ..] => list(&[text("127.0.0.1"), text(&port.to_string())]),
            _ => master(words),
        }
    }

    /// A storage with a long time-out, for a machine under load.
    fn storage(sentinels: &[&Fake]) -> RedisTokenStorage {
        let builder = RedisTokenStorage::sentinel(sentinels.iter().map(|fake| fake.url()), "mymaster");
        builder.command_timeout(Duration::from_secs(10)).build().unwrap()
    }

    /// Returns once the storage sends its commands to this server.
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

        // The storage does not connect to the old master at the next connections either.
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
        // The other sentinel is cut off, and still answers.
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
        logs::capture();
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
        // The storage tries at most four more times in this time, and then every ten seconds.
        sleep(Duration::from_secs(4)).await;
        assert!(one.accepted() - before <= 8, "{} connections", one.accepted() - before);
        let lines = logs::lines("WARN", &[&port]);
        assert!(lines.len() == 1 && lines[0].contains("NOPERM"), "{lines:?}");
    }

    fn word(epoch: Option<&str>, address: Option<(&str, u16)>) -> Option<MasterAnswer> {
        let record = epoch.map(|epoch| ("config-epoch".to_owned(), epoch.to_owned()));
        parse_answer(&record.into_iter().collect(), address.map(|(host, port)| (host.to_owned(), port)))
    }

    #[test]
    fn what_a_sentinel_says_has_an_address_and_an_epoch() {
        let address = Some(("10.0.0.5", 6379));
        let expected = MasterAnswer { epoch: 7, host: "10.0.0.5".to_owned(), port: 6379 };
        assert_eq!(word(Some("7"), address), Some(expected));
        for (epoch, address) in
            [(None, address), (Some("7"), None), (Some("7"), Some(("", 6379))), (Some("-1"), address)]
        {
            assert_eq!(word(epoch, address), None, "{epoch:?} {address:?}");
        }
    }
}
