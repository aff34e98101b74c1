//! A server for answers that [`Origin`](forge_tests::Origin) cannot send: they never end, come drop by drop
//! or break off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The bytes that the server sends: `head` as it is, then `again`, again and again until the client hangs
/// up. If `again` is empty, the server hangs up.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) head: Vec<u8>,
    pub(crate) again: Vec<u8>,
    /// How long to wait between two bytes.
    pub(crate) pause: Option<Duration>,
}

/// Plays a script on each connection, until a test mends it.
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Arc<SharedState>,
    ended: watch::Receiver<Option<usize>>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct SharedState {
    calls: AtomicUsize,
    is_mended: AtomicBool,
}

impl Wire {
    pub(crate) async fn start(script: Script, good: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(SharedState::default());
        let (tell, ended) = watch::channel(None);
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let Ok((mut stream, _)) = listener.accept().await else { continue };
                    if !read_request(&mut stream).await {
                        continue;
                    }
                    shared.calls.fetch_add(1, Ordering::SeqCst);
                    if shared.is_mended.load(Ordering::SeqCst) {
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{good}",
                            good.len()
                        );
                        stream.write_all(answer.as_bytes()).await.expect("a client that wants a token");
                    } else {
                        let script = script.clone();
                        let tell = tell.clone();
                        tokio::spawn(async move { tell.send_replace(Some(play(&script, stream).await)) });
                    }
                }
            }
        });
        Self { address, shared, ended, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// From now on the server sends the good answer only.
    pub(crate) fn mend(&self) {
        self.shared.is_mended.store(true, Ordering::SeqCst);
    }

    /// Waits for the end of the hostile answer. If the answer has no end of its own, that is when the client
    /// hangs up. Returns the most bytes that the kernel can have taken.
    pub(crate) async fn ended(&self) -> usize {
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(Option::is_some).await.expect("a server that lives");
        ended.expect("waited for")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut received = Vec::new();
    loop {
        if is_whole(&received) {
            return true;
        }
        if matches!(stream.read_buf(&mut received).await, Ok(0) | Err(_)) {
            return false;
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

async fn play(script: &Script, mut stream: TcpStream) -> usize {
    let mut bytes = 0;
    let mut part = &script.head;
    loop {
        let written = match script.pause {
            None => stream.write_all(part).await.is_ok(),
            Some(pause) => drop_by_drop(part, pause, &mut stream).await,
        };
        bytes += part.len();
        if !written {
            return bytes;
        }
        if script.again.is_empty() {
            // The client may be gone already.
            let _ = stream.shutdown().await;
            return bytes;
        }
        part = &script.again;
    }
}

/// Whether the server could send all of it. It notices between two bytes that a client has hung up.
async fn drop_by_drop(part: &[u8], pause: Duration, stream: &mut TcpStream) -> bool {
    for byte in part {
        if stream.write_all(&[*byte]).await.is_err() {
            return false;
        }
        let mut rest = [0; 1];
        // The client has nothing more to say, so anything that the server reads means that the client has
        // hung up.
        if tokio::time::timeout(pause, stream.read(&mut rest)).await.is_ok() {
            return false;
        }
    }
    true
}
