use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{StorageError, random_bits};
use redis::{ConnectionAddr, PushInfo, PushKind};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::dialer::{Connection, ReadyDialer};
use crate::explain::explain;

/// A subscription to the failovers that one of the sentinels announces.
pub(super) struct SentinelSubscription {
    sentinel: Connection,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signals {
    failover: Notify,
    lost: Notify,
}

/// The outcome of listening for a certain time.
pub(super) enum ListenOutcome {
    /// The sentinel announced a failover, of our master or of another one.
    Failover,
    /// The time is over, and nothing was announced.
    TimeOver,
    /// The connection to the sentinel is lost.
    ConnectionLost,
}

/// The interval between probes of a silent sentinel. A sentinel waits 30 s by default before it begins a failover, so 5 s
/// find a dead connection early enough.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// The time-out of a probe. If an attempt to subscribe takes longer, a second one to another sentinel begins beside it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

impl SentinelSubscription {
    /// Subscribes to one of the sentinels, chosen at random.
    ///
    /// # Errors
    ///
    /// No sentinel accepts a subscription. This is the error of one of them.
    pub(super) async fn open(
        dialer: &ReadyDialer,
        addresses: &[ConnectionAddr],
        limit: Duration,
    ) -> Result<Self, StorageError> {
        let mut addresses = addresses.to_vec();
        addresses.sort_by_cached_key(|_| random_bits());
        let mut failure = StorageError::new("no sentinel answered in time");
        let mut ending = pin!(sleep(limit));
        let mut trying = JoinSet::new();
        loop {
            match addresses.pop() {
                Some(address) => drop(trying.spawn(subscribe(dialer.clone(), address))),
                None if trying.is_empty() => return Err(failure),
                None => {}
            }
            tokio::select! {
                Some(tried) = trying.join_next() => match tried {
                    Ok(Ok(subscription)) => return Ok(subscription),
                    Ok(Err(error)) => failure = error,
                    Err(_) => {}
                },
                () = sleep(PROBE_TIMEOUT) => {}
                () = &mut ending => return Err(failure),
            }
        }
    }

    /// Waits for the next announcement, but at most for this time.
    pub(super) async fn listen_for(&mut self, time: Duration) -> ListenOutcome {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                () = self.signals.failover.notified() => return ListenOutcome::Failover,
                () = self.signals.lost.notified() => return ListenOutcome::ConnectionLost,
                () = sleep_until(end.min(Instant::now() + PROBE_INTERVAL)) => {}
            }
            let answer =
                timeout(PROBE_TIMEOUT, redis::cmd("PING").query_async::<()>(&mut self.sentinel.redis)).await;
            if !matches!(answer, Ok(Ok(()))) {
                return ListenOutcome::ConnectionLost;
            }
            if Instant::now() >= end {
                return ListenOutcome::TimeOver;
            }
        }
    }
}

async fn subscribe(
    dialer: ReadyDialer,
    address: ConnectionAddr,
) -> Result<SentinelSubscription, StorageError> {
    let signals = Arc::new(Signals::default());
    let events = Arc::clone(&signals);
    let on_push = move |push: PushInfo| match push.kind {
        PushKind::Message => events.failover.notify_one(),
        PushKind::Disconnection => events.lost.notify_one(),
        _ => {}
    };
    let mut sentinel = dialer.dial_with_push(&address, on_push).await?;
    sentinel.redis.subscribe("+switch-master").await.map_err(|error| explain(&error))?;
    Ok(SentinelSubscription { sentinel, signals })
}
