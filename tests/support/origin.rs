mod framing;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub use self::reply::RawReply;
pub use self::request::RecordedRequest;

use self::framing::Message;
use self::reply::Manner;
use crate::server::{ClosedPort, LOOPBACK, listen, lock};

/// A server that records every byte that it gets. A closure chooses its answers.
///
/// It speaks HTTP/1.1 without a library that would tidy the bytes. It keeps connections alive.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<SharedState>,
    accepting: JoinHandle<()>,
}

type Reply = dyn Fn(&RecordedRequest) -> RawReply + Send + Sync;

struct SharedState {
    reply: Mutex<Arc<Reply>>,
    requests: Mutex<Vec<RecordedRequest>>,
}

impl Origin {
    /// Starts an origin on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub async fn start<F>(reply: F) -> io::Result<Self>
    where
        F: Fn(&RecordedRequest) -> RawReply + Send + Sync + 'static,
    {
        Self::start_at(LOOPBACK, reply).await
    }

    /// Starts an origin on a free port of another loopback address: 127.0.0.2, for example.
    ///
    /// # Errors
    ///
    /// There is no free port, or the address is not one of loopback.
    pub async fn start_at<F>(ip: IpAddr, reply: F) -> io::Result<Self>
    where
        F: Fn(&RecordedRequest) -> RawReply + Send + Sync + 'static,
    {
        let listener = listen(ip).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(SharedState { reply: Mutex::new(Arc::new(reply)), requests: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Another closure chooses the answers from now on. Origins that redirect to each other need this: the
    /// first one's closure cannot know the second one's URL.
    pub fn set_reply<F>(&self, reply: F)
    where
        F: Fn(&RecordedRequest) -> RawReply + Send + Sync + 'static,
    {
        *lock(&self.shared.reply) = Arc::new(reply);
    }

    /// The URL of the origin, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns when the origin has closed its port and all connections. A drop only begins that.
    ///
    /// # Errors
    ///
    /// The port could not be kept for this process.
    pub async fn stop(mut self) -> io::Result<ClosedPort> {
        self.accepting.abort();
        // The task was cancelled or has panicked. In both cases it has ended.
        let _ = (&mut self.accepting).await;
        ClosedPort::at(self.address)
    }

    /// Host and port: the text between `//` and the path.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far, in the order of their ends. A request that broke off, or was not HTTP, is among
    /// them as soon as its connection has ended.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets the requests.
    pub fn clear(&self) {
        lock(&self.shared.requests).clear();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("url", &self.url())
            .field("requests", &lock(&self.shared.requests).len())
            .finish_non_exhaustive()
    }
}

/// Owns the connections: they end when this task is aborted.
async fn accept(listener: TcpListener, shared: Arc<SharedState>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            // The process probably has no file descriptors left. Some connections will end soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<SharedState>) {
    // This only makes the connection faster.
    let _ = stream.set_nodelay(true);
    let mut received = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut received).await {
        let is_whole = request.is_whole;
        lock(&shared.requests).push(request.clone());
        if !is_whole {
            return;
        }
        let reply = Arc::clone(&lock(&shared.reply));
        let reply = reply(&request);
        match reply.manner {
            Manner::Answers => {}
            Manner::HangsUp => return,
            Manner::KeepsSilent => return until_closed(&mut stream).await,
        }
        let stays = request.keeps_alive() && reply.keeps_alive();
        if stream.write_all(&reply.to_bytes(request.method(), stays)).await.is_err() || !stays {
            return;
        }
    }
}

async fn until_closed(stream: &mut TcpStream) {
    let mut ignored = Vec::new();
    while matches!(stream.read_buf(&mut ignored).await, Ok(1..)) {
        ignored.clear();
    }
}

async fn next_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<RecordedRequest> {
    loop {
        let is_over = match framing::first_message(received) {
            Message::Whole(length) => {
                let rest = received.split_off(length);
                return Some(RecordedRequest::new(std::mem::replace(received, rest), true));
            }
            Message::Partial => matches!(stream.read_buf(received).await, Ok(0) | Err(_)),
            Message::Broken => true,
        };
        if is_over {
            let rest = std::mem::take(received);
            return (!rest.is_empty()).then(|| RecordedRequest::new(rest, false));
        }
    }
}
