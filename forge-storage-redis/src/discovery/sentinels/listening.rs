use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{StorageError, random_bits};
use redis::{ConnectionAddr, PushInfo, PushKind};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::dialer::{Connection, Ready};
use crate::explain::explain;

/// A subscription to the failovers that one of the sentinels announces.
pub(super) struct Listening {
    sentinel: Connection,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signals {
    told: Notify,
    lost: Notify,
}

/// The outcome of listening for a while.
pub(super) enum Heard {
    /// A failover of some master, ours or another one.
    News,
    Nothing,
    /// The connection is lost.
    Lost,
}

/// The interval between probes of a silent sentinel.
const BEAT: Duration = Duration::from_secs(5);
/// The time-out of a probe. An attempt to connect that takes longer gets a second sentinel tried beside it.
const PROOF: Duration = Duration::from_secs(1);

impl Listening {
    /// Subscribes to one of the sentinels, chosen at random.
    ///
    /// # Errors
    ///
    /// No sentinel could be subscribed to: the error of one of them.
    pub(super) async fn begin(
        dialer: &Ready,
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
                    Ok(Ok(listening)) => return Ok(listening),
                    Ok(Err(error)) => failure = error,
                    Err(_) => {}
                },
                () = sleep(PROOF) => {}
                () = &mut ending => return Err(failure),
            }
        }
    }

    /// Returns at the next announcement, or when this time is over.
    pub(super) async fn hear(&mut self, time: Duration) -> Heard {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                () = self.signals.told.notified() => return Heard::News,
                () = self.signals.lost.notified() => return Heard::Lost,
                () = sleep_until(end.min(Instant::now() + BEAT)) => {}
            }
            let answer = timeout(PROOF, redis::cmd("PING").query_async::<()>(&mut self.sentinel.redis)).await;
            if !matches!(answer, Ok(Ok(()))) {
                return Heard::Lost;
            }
            if Instant::now() >= end {
                return Heard::Nothing;
            }
        }
    }
}

async fn subscribe(dialer: Ready, address: ConnectionAddr) -> Result<Listening, StorageError> {
    let signals = Arc::new(Signals::default());
    let telling = Arc::clone(&signals);
    let hear = move |push: PushInfo| match push.kind {
        PushKind::Message => telling.told.notify_one(),
        PushKind::Disconnection => telling.lost.notify_one(),
        _ => {}
    };
    let mut sentinel = dialer.dial_to_hear(&address, hear).await?;
    sentinel.redis.subscribe("+switch-master").await.map_err(|error| explain(&error))?;
    Ok(Listening { sentinel, signals })
}
