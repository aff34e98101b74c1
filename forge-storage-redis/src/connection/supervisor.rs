//! The background task that connects, watches the connection, and reconnects.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{StorageError, random_fraction};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connect::connect;
use super::{LiveConnection, SharedState, State};
use crate::dialer::Connection;
use crate::discovery::DiscoveryError;

/// The pause after a failed attempt. It doubles with each further failure, up to `MAX_PAUSE`. So a server that restarts is
/// found within half a second, and a server that is down gets two attempts per second and process.
const INITIAL_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// After an outage each process rechecks its cached tokens at a random moment within this time, so that not all replicas
/// send their commands at once.
const MAX_RECHECK_DELAY: Duration = Duration::from_millis(500);
/// The time-out of a probe. A server that is alive answers a `PING` within milliseconds; a second leaves room for one that
/// runs a long script.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest interval between probes of an idle connection. It equals the time-out of a probe, so that probes do not
/// overlap.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval between probes, for a `recheck_after` that means "never".
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(3600);
/// A connection that lasts for less time counts as a failed attempt, so the pause continues to double. Otherwise a server
/// that accepts connections and closes them would get an attempt every 50 ms.
const MIN_USEFUL_LIFE: Duration = Duration::from_secs(5);

/// Connects and reconnects until the [`SupervisedConnection`](super::SupervisedConnection) is dropped.
pub(super) async fn supervise(shared: Arc<SharedState>, number: u64) {
    let mut on_drop = ReportOnDrop { shared: &shared, number, is_reported: false };
    let mut pause = INITIAL_PAUSE;
    loop {
        shared.record_activity();
        let mut since = Instant::now();
        let error = match timeout(shared.common.limits.connect, connect(&shared)).await {
            Ok(Ok(live)) => {
                let begun = Instant::now();
                shared.watch(number, live).await;
                if begun.elapsed() >= MIN_USEFUL_LIFE {
                    pause = INITIAL_PAUSE;
                }
                since = Instant::now();
                StorageError::new("the connection to Redis was lost")
            }
            Ok(Err(DiscoveryError::Unknown(error))) => error,
            Ok(Err(DiscoveryError::Superseded)) => {
                // Report this, so that callers that wait for this connection look for the other one.
                on_drop.is_reported = true;
                let needless = StorageError::new("another connection leads to this server");
                if shared.report(number, State::Down(needless)) {
                    tracing::info!(server = %shared.discovery, "another connection to the same Redis server has taken over");
                }
                return;
            }
            Err(_) => StorageError::new("cannot connect to Redis in time"),
        };
        if !shared.report(number, State::Down(error.clone())) {
            shared.warn_of_outage(&error);
        }
        // The pause is random, so that not all replicas connect at once. It counts from the beginning of the attempt, so that
        // a slow failure does not delay the recovery even more.
        sleep_until(since + pause.mul_f64(1.0 - random_fraction() / 2.0)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Reports on drop that the supervisor has ended, also if its task was aborted or has panicked.
struct ReportOnDrop<'a> {
    shared: &'a SharedState,
    number: u64,
    is_reported: bool,
}

impl Drop for ReportOnDrop<'_> {
    fn drop(&mut self) {
        if self.is_reported {
            return;
        }
        // Crash: a panic may repeat at each attempt. With `Down`, callers fail at once instead of waiting each time.
        let panicked = || State::Down(StorageError::new("connecting to Redis panicked"));
        let state = if std::thread::panicking() { panicked() } else { State::Unsupervised };
        self.shared.report(self.number, state);
    }
}

impl SharedState {
    /// Watches a connection. Returns when the supervisor must replace it.
    async fn watch(&self, supervisor: u64, live: LiveConnection) {
        let catch_up = || Instant::now() + MAX_RECHECK_DELAY.mul_f64(random_fraction());
        let was_up = self.was_up.swap(true, Ordering::Relaxed);
        let mut recheck_at = None;
        if self.is_down() && live.round_trip > self.common.limits.slow() {
            // Callers have given up waiting for this slow server. Probe it before the breaker closes, so that they do not
            // wait in vain again.
            live.signals.suspected.notify_one();
        } else {
            // Callers that saw the state `Down` have continued without Redis, even before the first connection. So recheck
            // their tokens, which may have changed.
            let was_down = self.report(supervisor, State::Up(live.clone()));
            if was_up || was_down {
                tracing::info!("Redis answers again");
                recheck_at = Some(catch_up());
            }
        }
        let mut silent = pin!(self.detect_silence(live.connection.clone()));
        let mut moved = pin!(self.discovery.wait_until_moved(&live.address));
        loop {
            tokio::select! {
                () = live.signals.lost.notified() => return,
                () = live.signals.condemned.notified() => return,
                () = &mut silent => return,
                () = &mut moved => return,
                () = sleep_until(recheck_at.unwrap_or_else(Instant::now)), if recheck_at.is_some() => {
                    self.common.announcements.mark_all_uncertain();
                    recheck_at = None;
                }
                () = live.signals.suspected.notified() => {
                    tokio::select! {
                        () = live.signals.lost.notified() => return,
                        is_alive = self.wait_until_responsive(live.connection.clone()) => {
                            if !is_alive {
                                return;
                            }
                        }
                    }
                    tracing::info!("Redis answers again");
                    self.report(supervisor, State::Up(live.clone()));
                    // No announcement was lost, but managers must now store the tokens that they could not store before.
                    recheck_at = Some(catch_up());
                }
            }
        }
    }

    /// Waits until the server answers a probe quickly, and then returns `true`. Returns `false` if the connection is dead.
    async fn wait_until_responsive(&self, mut connection: Connection) -> bool {
        self.record_activity();
        sleep(self.slow_answers.pause()).await;
        loop {
            self.record_activity();
            let asked = Instant::now();
            let answer =
                timeout(PROBE_TIMEOUT, redis::cmd("PING").query_async::<String>(&mut connection.redis)).await;
            match answer {
                Ok(Ok(_)) if asked.elapsed() <= self.common.limits.slow() => return true,
                Ok(Ok(_)) => sleep(INITIAL_PAUSE).await,
                // The server is loading its data, for example, so another connection would not help.
                Ok(Err(error)) if !error.is_io_error() => sleep(INITIAL_PAUSE).await,
                Ok(Err(_)) | Err(_) => return false,
            }
        }
    }

    /// Returns when the connection is dead although it has not ended. Crash: a server or a firewall may vanish without
    /// closing the connection. A process whose tokens are valid sends no commands, so without these probes it would not
    /// notice that announcements no longer arrive.
    async fn detect_silence(&self, mut connection: Connection) {
        let interval = self.common.announcements.recheck_after() / 4;
        let interval = interval.max(MIN_PROBE_INTERVAL).min(MAX_PROBE_INTERVAL);
        loop {
            sleep(interval.mul_f64(1.0 - random_fraction() / 4.0)).await;
            let asked = Instant::now();
            let answer =
                timeout(PROBE_TIMEOUT, redis::cmd("PING").query_async::<String>(&mut connection.redis)).await;
            if answer.is_err() {
                return;
            }
            if asked.elapsed() <= self.common.limits.slow() {
                self.slow_answers.answered_quickly(asked.elapsed());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forge_core::{Secret, SecretSource, TokenStorage};

    use super::*;
    use crate::RedisTokenStorage;

    #[tokio::test]
    async fn inv18_a_login_that_panics_is_waited_for_once() {
        async fn password() -> Result<Secret, std::io::Error> {
            panic!("a password that cannot be had")
        }
        let builder =
            RedisTokenStorage::builder("redis://127.0.0.1:1").command_timeout(Duration::from_secs(5));
        let storage = builder.password(SecretSource::from_fn(password)).build().unwrap();
        let begun = Instant::now();
        for _ in 0..3 {
            storage.get("k").await.unwrap_err();
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
