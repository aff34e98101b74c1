//! Ports on 127.0.0.1, and the servers that answer there.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::redis::Attempt;
use crate::redis::ask::Access;

/// Below the ports that systems give to outgoing connections: a stopped server wants its port back.
const FIRST: u32 = 20_000;
const PORTS: u32 = 12_000;

/// The number of other ports to try if another process was faster.
const ATTEMPTS: usize = 5;
const STOP_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// A port without a listener. The process hands out no port twice (before it has used thousands).
pub(super) fn free() -> io::Result<u16> {
    // The first port is random, because other processes choose in the same way.
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
        let random = RandomState::new().hash_one(std::process::id());
        AtomicU32::new(u32::try_from(random % u64::from(PORTS)).unwrap_or(0))
    });
    for _ in 0..PORTS {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let port = u16::try_from(FIRST + offset).map_err(io::Error::other)?;
        if !is_taken(port) {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Starts something with `start`, on as many free ports as it needs.
///
/// # Errors
///
/// It does not start, and neither a faster process nor a slow machine is the reason.
pub(super) async fn on_free<'a, T>(
    count: usize,
    start: impl Fn(Vec<u16>) -> Attempt<'a, T>,
) -> io::Result<T> {
    let mut last = io::Error::other("there is no free port");
    for _ in 0..ATTEMPTS {
        let ports = (0..count).map(|_| free()).collect::<io::Result<Vec<_>>>()?;
        match start(ports.clone()).await {
            Ok(started) => return Ok(started),
            // Another process may take a port between the look at it and its use. On a machine that stands
            // still for longer than an answer may take, nothing starts.
            Err(error) if error.kind() == io::ErrorKind::TimedOut || ports.into_iter().any(is_taken) => {
                last = error;
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Whether a process listens there.
pub(super) fn is_taken(port: u16) -> bool {
    TcpListener::bind(address(port)).is_err()
}

/// Waits until a server answers. `ended` tells whether the server has ended and cannot answer any more.
pub(super) async fn until_answered(
    port: u16,
    access: &Access,
    limit: Duration,
    mut ended: impl FnMut() -> bool,
) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let Err(error) = ping(port, access).await else { return Ok(()) };
        if ended() {
            return Err(io::Error::other("it ended at once"));
        }
        if start.elapsed() >= limit {
            return Err(io::Error::new(error.kind(), format!("no answer within {limit:?}: {error}")));
        }
        sleep(PAUSE).await;
    }
}

/// Waits until connections are refused.
pub(super) async fn until_refused(port: u16) -> io::Result<()> {
    let start = Instant::now();
    while TcpStream::connect(address(port)).await.is_ok() {
        if start.elapsed() >= STOP_LIMIT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "connections are still accepted"));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

async fn ping(port: u16, access: &Access) -> io::Result<()> {
    match access.ask(port, &["PING"]).await {
        // A server that wants a password answers, too.
        Err(error) if !error.to_string().starts_with("NOAUTH") => Err(error),
        _ => Ok(()),
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
