//! A token endpoint on loopback that ends its connections when a test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the server treats a request, by its number on the connection and among all requests, from 0.
pub(crate) type Manner = dyn Fn(usize, usize) -> Treatment + Send + Sync;

pub(crate) enum Treatment {
    /// A good answer; the connection stays open.
    Answer,
    /// These bytes; the connection ends after them.
    Bytes(Vec<u8>),
    /// Nothing at all, and the connection stays open.
    Silence,
}

/// The server ends each connection at this request.
pub(crate) fn cut() -> Treatment {
    Treatment::Bytes(Vec::new())
}

pub(crate) fn status(status: u16, headers: &str) -> Treatment {
    let answer = format!("HTTP/1.1 {status} X\r\n{headers}connection: close\r\ncontent-length: 0\r\n\r\n");
    Treatment::Bytes(answer.into_bytes())
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    refreshes: AtomicUsize,
    cut: AtomicUsize,
}

pub(crate) struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(manner: impl Fn(usize, usize) -> Treatment + Send + Sync + 'static) -> Self {
        Self::closing_idle_after(Duration::from_secs(600), manner).await
    }

    /// The server closes a connection that is idle for this time after a response.
    pub(crate) async fn closing_idle_after(
        idle: Duration,
        manner: impl Fn(usize, usize) -> Treatment + Send + Sync + 'static,
    ) -> Self {
        let manner: Arc<Manner> = Arc::new(manner);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::new(Counts::default());
        let accepting = tokio::spawn({
            let counts = Arc::clone(&counts);
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    counts.connections.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(serve(stream, Arc::clone(&counts), Arc::clone(&manner), idle));
                }
            }
        });
        Self { address, counts, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// The complete requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// The requests that carried a refresh token.
    pub(crate) fn refreshes(&self) -> usize {
        self.counts.refreshes.load(Ordering::SeqCst)
    }

    /// The requests that got no byte of a response, because the server ended the connection.
    pub(crate) fn cut(&self) -> usize {
        self.counts.cut.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, counts: Arc<Counts>, manner: Arc<Manner>, idle: Duration) {
    let mut received = Vec::new();
    for number in 0.. {
        // Only a connection that has carried a request counts as idle.
        let patience = if number == 0 { Duration::from_secs(600) } else { idle };
        let request = tokio::time::timeout(patience, next_request(&mut stream, &mut received)).await;
        let Ok(Some(request)) = request else { return };
        let among_all = counts.requests.fetch_add(1, Ordering::SeqCst);
        if request.contains("grant_type=refresh_token") {
            counts.refreshes.fetch_add(1, Ordering::SeqCst);
        }
        match manner(number, among_all) {
            Treatment::Answer => {
                let body = format!(r#"{{"access_token":"t{among_all}","expires_in":3600}}"#);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Treatment::Bytes(bytes) => {
                if bytes.is_empty() {
                    counts.cut.fetch_add(1, Ordering::SeqCst);
                }
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Treatment::Silence => std::future::pending().await,
        }
    }
}

/// The server counts bytes that are not HTTP, such as the greeting of a TLS client, as a whole request.
async fn next_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<String> {
    loop {
        if received.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
            return Some(String::from_utf8_lossy(&std::mem::take(received)).into_owned());
        }
        let text = String::from_utf8_lossy(received).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.unwrap_or(0);
            if body.len() >= length {
                received.drain(..head.len() + 4 + length);
                return Some(text);
            }
        }
        if matches!(stream.read_buf(received).await, Ok(0) | Err(_)) {
            return None;
        }
    }
}
