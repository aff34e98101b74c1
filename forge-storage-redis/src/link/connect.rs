//! What makes a connection one of ours.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{StorageError, random_fraction};
use redis::{ConnectionAddr, PushInfo, PushKind, Value};
use tokio::time::{Instant, sleep};

use super::{Shared, Signals, Up};
use crate::dialer::Ready;
use crate::explain::explain;
use crate::locate::Nowhere;
use crate::server_clock::{ServerClock, millis};

/// While it is not known whether anybody answers at an address: whether the server is still there is asked
/// again so often.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// A connection that hears what is announced, to a server that knows the scripts and whose time we know.
///
/// # Errors
///
/// The server cannot be found or reached, or does not let us in; or it is not needed any more.
pub(super) async fn connect(shared: &Shared) -> Result<Up, Nowhere> {
    let dialer = shared.common.dialer.ready().await?;
    let mut address = shared.locate.locate(&dialer).await?;
    loop {
        tokio::select! {
            up = connect_to(shared, &dialer, &address) => return Ok(up?),
            other = is_elsewhere(shared, &dialer, &address) => address = other?,
        }
    }
}

/// When another one has taken over: where that is.
async fn is_elsewhere(
    shared: &Shared,
    dialer: &Ready,
    address: &ConnectionAddr,
) -> Result<ConnectionAddr, Nowhere> {
    loop {
        // Not all at the same moment.
        sleep(ASKED_AGAIN.mul_f64(1.0 - random_fraction() / 4.0)).await;
        match shared.locate.locate(dialer).await {
            Ok(same) if same == *address => {}
            Err(Nowhere::Unknown(_)) => {}
            elsewhere => return elsewhere,
        }
    }
}

async fn connect_to(shared: &Shared, dialer: &Ready, address: &ConnectionAddr) -> Result<Up, StorageError> {
    let common = &shared.common;
    let signals = Arc::new(Signals::default());
    let (ear, ending) = (Arc::clone(&common.announcements), Arc::clone(&signals));
    let hear = move |push: PushInfo| match (&push.kind, push.data.as_slice()) {
        (PushKind::Message, [_channel, Value::BulkString(message)]) => ear.hear(message),
        (PushKind::Disconnection, _) => ending.lost.notify_one(),
        _ => {}
    };
    let mut connection = dialer.dial_to_hear(address, hear).await?;
    shared.locate.verify(&mut connection.redis).await?;
    let said = |error| explain(&error);
    connection.redis.subscribe(common.announcements.channel()).await.map_err(said)?;
    let mut asking = redis::pipe();
    asking.cmd("TIME");
    // Else the first call of each would take three times as long.
    common.scripts.load(&mut asking);
    let (asked, sent) = (common.clock.now().wall_millis(), Instant::now());
    let ((seconds, micros),): ((i64, i64),) =
        asking.query_async(&mut connection.redis).await.map_err(said)?;
    let round_trip = sent.elapsed();
    let clock = ServerClock::new(Arc::clone(&common.clock), asked, millis(seconds, micros));
    Ok(Up { connection, clock: Arc::new(clock), address: address.clone(), round_trip, signals })
}
