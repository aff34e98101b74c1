//! The task that keeps a connection up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::StorageError;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connect::{connect, explain};
use super::{Shared, State, Up};

/// After a failed attempt; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What was missed while the connection was down is made up for within this time, each replica at
/// another moment.
const CATCH_UP: Duration = Duration::from_millis(500);
/// Less than a third of `SILENCE`.
const HEARTBEAT: Duration = Duration::from_secs(4);
/// How long a connection that does not answer may take to prove that it is alive.
const PROOF: Duration = Duration::from_secs(1);

/// Connects, again and again, until the link is dropped.
pub(super) async fn keep(shared: Arc<Shared>, number: u64) {
    let _farewell = Farewell { shared: &shared, number };
    let mut pause = FIRST_PAUSE;
    let mut connections = 0;
    loop {
        shared.beat();
        let mut since = Instant::now();
        let lost = Arc::new(Notify::new());
        let attempt = timeout(shared.limits.connect, connect(&shared.client, &shared.announcements, &lost));
        let error = match attempt.await {
            Ok(Ok(connection)) => {
                pause = FIRST_PAUSE;
                connections += 1;
                // Numbers of different keepers differ, too.
                let up = Up { connection, number: (number << 32) | connections };
                shared.watch_over(number, up, &lost).await;
                since = Instant::now();
                StorageError::new("the connection to Redis was lost")
            }
            Ok(Err(error)) => explain(&error),
            Err(_) => StorageError::new("no connection to Redis in time"),
        };
        tracing::debug!(%error, "connecting to Redis again");
        shared.report(number, State::Down(error));
        shared.beat();
        // Not all replicas at the same moment. Time spent on the attempt counts: what was slow to fail is
        // not to be slow to be mended, too.
        sleep_until(since + pause.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Says that nobody keeps the connection any more, however that has come.
struct Farewell<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        self.shared.report(self.number, State::Unkept);
    }
}

/// Takes back a notification that nobody has waited for.
async fn forget(notify: &Notify) {
    tokio::select! {
        biased;
        () = notify.notified() => {}
        () = std::future::ready(()) => {}
    }
}

fn soon() -> Instant {
    Instant::now() + CATCH_UP.mul_f64(fastrand::f64())
}

impl Shared {
    /// Until the connection is lost.
    async fn watch_over(&self, keeper: u64, up: Up, lost: &Notify) {
        // What was said of the connection before is not about this one.
        forget(&self.suspected).await;
        forget(&self.condemned).await;
        let was_up = self.was_up.swap(true, Ordering::Relaxed);
        // Whoever was told that it is down has gone on without, also before the first connection.
        let was_down = self.report(keeper, State::Up(up.clone()));
        let mut catch_up = None;
        if was_up || was_down {
            tracing::info!("Redis answers again");
            catch_up = Some(soon());
        }
        loop {
            tokio::select! {
                () = lost.notified() => return,
                () = self.condemned.notified() => return,
                () = sleep_until(catch_up.unwrap_or_else(Instant::now)), if catch_up.is_some() => {
                    self.announcements.doubt_all();
                    catch_up = None;
                }
                // So that one whose runtime stands still is told from one that has nothing to do.
                () = sleep(HEARTBEAT) => self.beat(),
                () = self.suspected.notified() => {
                    tokio::select! {
                        () = lost.notified() => return,
                        is_alive = self.proves_alive(up.connection.clone()) => {
                            if !is_alive {
                                return;
                            }
                        }
                    }
                    tracing::info!("Redis answers again");
                    // Nothing was missed on this connection, but what was fetched meanwhile is to be offered.
                    catch_up = Some(soon());
                    self.report(keeper, State::Up(up.clone()));
                }
            }
        }
    }

    /// Whether the connection answers again, and as quickly as it should. A slow one is waited for.
    async fn proves_alive(&self, mut connection: MultiplexedConnection) -> bool {
        loop {
            self.beat();
            let asked = Instant::now();
            let answer = timeout(PROOF, redis::cmd("PING").query_async::<String>(&mut connection)).await;
            match answer {
                Ok(Ok(_)) if asked.elapsed() <= self.limits.command => return true,
                Ok(Ok(_)) => sleep(FIRST_PAUSE).await,
                // Loading its data, for example: another connection would not help.
                Ok(Err(error)) if !error.is_unrecoverable_error() => sleep(FIRST_PAUSE).await,
                Ok(Err(_)) | Err(_) => return false,
            }
        }
    }
}
