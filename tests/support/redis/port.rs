//! Ports on 127.0.0.1, and who answers there.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Below those that systems give to outgoing connections: a stopped server wants its port back.
const FIRST: u32 = 20_000;
const PORTS: u32 = 12_000;

const STOP_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// A port where nobody listens. The process hands out none twice (before thousands were used).
pub(super) fn free() -> io::Result<u16> {
    // Where to begin is random, since other processes choose in the same way.
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

/// Whether somebody listens there.
pub(super) fn is_taken(port: u16) -> bool {
    TcpListener::bind(address(port)).is_err()
}

/// Waits until a server answers; `ended` tells whether it cannot any more.
pub(super) async fn until_answered(
    port: u16,
    limit: Duration,
    mut ended: impl FnMut() -> bool,
) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let Err(error) = ping(port).await else { return Ok(()) };
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

async fn ping(port: u16) -> io::Result<()> {
    let exchange = async {
        let mut stream = TcpStream::connect(address(port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        // Whoever wants a password answers, too.
        let answers = [b"+PONG\r\n", b"-NOAUTH"].contains(&&answer);
        if answers { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned())) }
    };
    timeout(Duration::from_secs(1), exchange).await?
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
