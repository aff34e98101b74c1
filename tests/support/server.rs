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

/// Connections that may wait to be accepted. Tests open a thousand at once, and those that find no room
/// (128 by default) try again after a second only, or are reset.
const BACKLOG: u32 = 4096;

/// A router at work. When this is dropped, no connection is accepted any more, idle ones are closed
/// and the others after the reply that they wait for.
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
            // Only a matter of speed.
            let _ = stream.set_nodelay(true);
        });
        let serve = axum::serve(listener, router).with_graceful_shutdown(async {
            // Nothing is ever sent: the channel closes when the server is dropped.
            let _ = stopped.await;
        });
        let serving = tokio::spawn(async {
            // It never fails.
            let _ = serve.await;
        });
        Ok(Self { address, running, serving })
    }

    /// Returns when nobody listens any more and all connections are closed.
    pub(crate) async fn stop(self) -> io::Result<ClosedPort> {
        drop(self.running);
        // An error would be a panic of the server's, which has ended it, too.
        let _ = self.serving.await;
        ClosedPort::at(self.address)
    }
}

/// A port where connections are refused, and that no other server gets as long as this is held.
#[derive(Debug)]
#[must_use = "the port is anybody's when this is dropped"]
pub struct ClosedPort {
    _bound: TcpSocket,
}

impl ClosedPort {
    /// The port of a server that has just ended.
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
    // The port of a server that has ended can be had while its last connections are still closing. Both
    // sockets must say so.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What follows a scheme in the Authorization header.
pub(crate) fn authorization<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let (given, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

/// Locks what stays consistent even if a test panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns when nobody listens there any more.
#[cfg(test)]
pub(crate) async fn until_refused(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
