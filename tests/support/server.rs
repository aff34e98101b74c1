use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::serve::ListenerExt;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The number of connections that may wait for an accept. Tests open a thousand at once. Without room (128
/// by default) a connection is tried again only after a second, or it is reset.
const BACKLOG: u32 = 4096;

/// A running router. When this value is dropped, the server accepts no more connections, closes the idle
/// ones, and closes the others after the reply that they wait for.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    running: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(router: Router) -> io::Result<Self> {
        let listener = listen(LOOPBACK).await?;
        let address = listener.local_addr()?;
        let (running, stopped) = oneshot::channel::<()>();
        let listener = listener.tap_io(|stream| {
            // This only makes the connection faster.
            let _ = stream.set_nodelay(true);
        });
        let serve = axum::serve(listener, router).with_graceful_shutdown(async {
            // The server never sends anything here: the channel closes when the server is dropped.
            let _ = stopped.await;
        });
        let serving = tokio::spawn(async {
            // It never fails.
            let _ = serve.await;
        });
        Ok(Self { address, running, serving })
    }

    /// Returns when the server has closed its port and all connections.
    pub(crate) async fn stop(self) -> io::Result<ClosedPort> {
        drop(self.running);
        // An error would be a panic of the server, which has ended it too.
        let _ = self.serving.await;
        ClosedPort::at(self.address)
    }
}

/// A port that refuses connections. No other server gets it as long as this value lives.
#[derive(Debug)]
#[must_use = "the port is anybody's when this is dropped"]
pub struct ClosedPort {
    _bound: TcpSocket,
}

impl ClosedPort {
    /// Takes the port of a server that has just ended.
    pub(crate) fn at(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { _bound: bind(address)? })
    }
}

/// Listens on a free port of a loopback address.
pub(crate) async fn listen(ip: IpAddr) -> io::Result<TcpListener> {
    if !ip.is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{ip} is not a loopback address")));
    }
    bind(SocketAddr::new(ip, 0))?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A new socket can take the port of an ended server while its last connections are still closing. Both
    // sockets must allow that.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The text after a scheme in the Authorization header.
pub(crate) fn authorization<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let (given, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

/// Locks data that stays consistent even if a test panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns when no server listens there any more.
#[cfg(test)]
pub(crate) async fn until_refused(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
