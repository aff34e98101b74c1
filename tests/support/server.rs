use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::serve::ListenerExt;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Connections that may wait to be accepted. Tests open a thousand at once, and those that find no room
/// (128 by default) try again after a second only, or are reset.
const BACKLOG: u32 = 4096;

/// A router at work. When this is dropped, no connection is accepted any more, idle ones are closed
/// and the others after the reply that they wait for.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _running: oneshot::Sender<()>,
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
        tokio::spawn(async { serve.await });
        Ok(Self { address, _running: running })
    }
}

/// Listens on a free port of a loopback address.
pub(crate) async fn listen(ip: IpAddr) -> io::Result<TcpListener> {
    if !ip.is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{ip} is not a loopback address")));
    }
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(ip, 0))?;
    socket.listen(BACKLOG)
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
