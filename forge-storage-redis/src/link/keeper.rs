//! The task that keeps a connection up.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{StorageError, random_fraction};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connect::connect;
use super::{Shared, State, Up};
use crate::dialer::Connection;
use crate::locate::Nowhere;

/// After a failed attempt; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// What was missed while the server did not answer is made up for within this time, each replica at
/// another moment.
const CATCH_UP: Duration = Duration::from_millis(500);
/// How long a connection that does not answer may take to prove that it is alive.
const PROOF: Duration = Duration::from_secs(1);
/// A connection is not asked for that proof without a reason more often.
const SHORTEST_BEAT: Duration = Duration::from_secs(1);
/// For settings that are as good as never.
const LONGEST_BEAT: Duration = Duration::from_secs(3600);
/// A connection that ends sooner was of no use, and the next one may be none, either.
const OF_USE: Duration = Duration::from_secs(5);

/// Connects, again and again, until the link is dropped.
pub(super) async fn keep(shared: Arc<Shared>, number: u64) {
    let mut farewell = Farewell { shared: &shared, number, is_said: false };
    let mut pause = FIRST_PAUSE;
    loop {
        shared.beat();
        let mut since = Instant::now();
        let error = match timeout(shared.common.limits.connect, connect(&shared)).await {
            Ok(Ok(up)) => {
                let begun = Instant::now();
                shared.watch_over(number, up).await;
                if begun.elapsed() >= OF_USE {
                    pause = FIRST_PAUSE;
                }
                since = Instant::now();
                StorageError::new("the connection to Redis was lost")
            }
            Ok(Err(Nowhere::Unknown(error))) => error,
            Ok(Err(Nowhere::Needless)) => {
                // Whoever still waits for this one is to look for the other one.
                farewell.is_said = true;
                let needless = StorageError::new("another connection leads there");
                if shared.report(number, State::Down(needless)) {
                    tracing::info!(server = %shared.locate, "another connection to Redis has taken over");
                }
                return;
            }
            Err(_) => StorageError::new("no connection to Redis in time"),
        };
        if !shared.report(number, State::Down(error.clone())) {
            shared.tell_of_outage(&error);
        }
        // Not all replicas at the same moment. Time spent on the attempt counts: what was slow to fail is not
        // to be slow to be mended, too.
        sleep_until(since + pause.mul_f64(1.0 - random_fraction() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Says that nobody keeps the connection any more, however that has come.
struct Farewell<'a> {
    shared: &'a Shared,
    number: u64,
    is_said: bool,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if self.is_said {
            return;
        }
        // What panics once may do so each time: nobody is to wait for it again and again.
        let panicked = || State::Down(StorageError::new("connecting to Redis panicked"));
        let state = if std::thread::panicking() { panicked() } else { State::Unkept };
        self.shared.report(self.number, state);
    }
}

impl Shared {
    /// Until the connection is lost.
    async fn watch_over(&self, keeper: u64, up: Up) {
        let catch_up = || Instant::now() + CATCH_UP.mul_f64(random_fraction());
        let was_up = self.was_up.swap(true, Ordering::Relaxed);
        let mut doubt_at = None;
        if self.is_down() && up.round_trip > self.common.limits.slow() {
            // Callers gave up waiting for this slow server. Probe it before the breaker closes, so that they
            // do not wait in vain again.
            up.signals.suspected.notify_one();
        } else {
            // Callers that got the state `Down` have gone on without Redis, even before the first connection.
            // So recheck afterwards what they may have missed.
            let was_down = self.report(keeper, State::Up(up.clone()));
            if was_up || was_down {
                tracing::info!("Redis answers again");
                doubt_at = Some(catch_up());
            }
        }
        let mut falls_silent = pin!(self.falls_silent(up.connection.clone()));
        let mut moves = pin!(self.locate.moves(&up.address));
        loop {
            tokio::select! {
                () = up.signals.lost.notified() => return,
                () = up.signals.condemned.notified() => return,
                () = &mut falls_silent => return,
                () = &mut moves => return,
                () = sleep_until(doubt_at.unwrap_or_else(Instant::now)), if doubt_at.is_some() => {
                    self.common.announcements.doubt_all();
                    doubt_at = None;
                }
                () = up.signals.suspected.notified() => {
                    tokio::select! {
                        () = up.signals.lost.notified() => return,
                        is_alive = self.proves_alive(up.connection.clone()) => {
                            if !is_alive {
                                return;
                            }
                        }
                    }
                    tracing::info!("Redis answers again");
                    self.report(keeper, State::Up(up.clone()));
                    // No message was lost, but what we could not store is to be offered.
                    doubt_at = Some(catch_up());
                }
            }
        }
    }

    /// Whether the connection answers again, and not slowly. A slow one is waited for.
    async fn proves_alive(&self, mut connection: Connection) -> bool {
        self.beat();
        sleep(self.pace.pause()).await;
        loop {
            self.beat();
            let asked = Instant::now();
            let answer =
                timeout(PROOF, redis::cmd("PING").query_async::<String>(&mut connection.redis)).await;
            match answer {
                Ok(Ok(_)) if asked.elapsed() <= self.common.limits.slow() => return true,
                Ok(Ok(_)) => sleep(FIRST_PAUSE).await,
                // Loading its data, for example: another connection would not help.
                Ok(Err(error)) if !error.is_io_error() => sleep(FIRST_PAUSE).await,
                Ok(Err(_)) | Err(_) => return false,
            }
        }
    }

    /// Returns when the connection is dead without having ended. A process whose tokens are valid sends no
    /// commands, so without these probes it would not notice that announcements no longer arrive.
    async fn falls_silent(&self, mut connection: Connection) {
        let beat = self.common.announcements.recheck_after() / 4;
        let beat = beat.max(SHORTEST_BEAT).min(LONGEST_BEAT);
        loop {
            sleep(beat.mul_f64(1.0 - random_fraction() / 4.0)).await;
            let asked = Instant::now();
            let answer =
                timeout(PROOF, redis::cmd("PING").query_async::<String>(&mut connection.redis)).await;
            if answer.is_err() {
                return;
            }
            if asked.elapsed() <= self.common.limits.slow() {
                self.pace.answered_quickly(asked.elapsed());
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
