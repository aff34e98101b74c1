//! Connects, subscribes to the announcements, loads the scripts and reads the server's clock.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{StorageError, random_fraction};
use redis::{ConnectionAddr, PushInfo, PushKind, Value};
use tokio::time::{Instant, sleep};

use super::{LiveConnection, SharedState, Signals};
use crate::dialer::ReadyDialer;
use crate::discovery::DiscoveryError;
use crate::explain::explain;
use crate::server_clock::{ServerClock, millis};

/// The interval at which discovery repeats while an attempt to connect hangs: after a failover the server has another
/// address. A second is short beside a failover, which takes several, and is a low load for sentinels and nodes.
const REDISCOVERY_INTERVAL: Duration = Duration::from_secs(1);

/// Connects to the server that discovery names.
///
/// # Errors
///
/// The server cannot be found or reached, or refuses the login; or the connection is superseded.
pub(super) async fn connect(shared: &SharedState) -> Result<LiveConnection, DiscoveryError> {
    let dialer = shared.common.dialer.ready().await?;
    let mut address = shared.discovery.locate(&dialer).await?;
    loop {
        tokio::select! {
            live = connect_to(shared, &dialer, &address) => return Ok(live?),
            other = wait_for_new_address(shared, &dialer, &address) => address = other?,
        }
    }
}

/// Returns when discovery names another address than this one.
async fn wait_for_new_address(
    shared: &SharedState,
    dialer: &ReadyDialer,
    address: &ConnectionAddr,
) -> Result<ConnectionAddr, DiscoveryError> {
    loop {
        // The interval is random, so that not all replicas ask at once.
        sleep(REDISCOVERY_INTERVAL.mul_f64(1.0 - random_fraction() / 4.0)).await;
        match shared.discovery.locate(dialer).await {
            Ok(same) if same == *address => {}
            Err(DiscoveryError::Unknown(_)) => {}
            elsewhere => return elsewhere,
        }
    }
}

async fn connect_to(
    shared: &SharedState,
    dialer: &ReadyDialer,
    address: &ConnectionAddr,
) -> Result<LiveConnection, StorageError> {
    let common = &shared.common;
    let signals = Arc::new(Signals::default());
    let (announcements, events) = (Arc::clone(&common.announcements), Arc::clone(&signals));
    let on_push = move |push: PushInfo| match (&push.kind, push.data.as_slice()) {
        (PushKind::Message, [_channel, Value::BulkString(message)]) => announcements.receive(message),
        (PushKind::Disconnection, _) => events.lost.notify_one(),
        _ => {}
    };
    let mut connection = dialer.dial_with_push(address, on_push).await?;
    shared.discovery.verify(&mut connection.redis).await?;
    let explained = |error| explain(&error);
    // Order: subscribe before the connection serves commands. A change between a read and the subscription would be
    // missed otherwise.
    connection.redis.subscribe(common.announcements.channel()).await.map_err(explained)?;
    let mut asking = redis::pipe();
    asking.cmd("TIME");
    // Without this the first call of each script would take three round trips.
    common.scripts.load(&mut asking);
    let (asked, sent) = (common.clock.now().wall_millis(), Instant::now());
    let ((seconds, micros),): ((i64, i64),) =
        asking.query_async(&mut connection.redis).await.map_err(explained)?;
    let round_trip = sent.elapsed();
    let clock = ServerClock::new(Arc::clone(&common.clock), asked, millis(seconds, micros));
    Ok(LiveConnection { connection, clock: Arc::new(clock), address: address.clone(), round_trip, signals })
}
