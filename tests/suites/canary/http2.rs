//! A server that speaks just enough HTTP/2 (RFC 9113, without TLS) for a client with prior knowledge. The
//! server of axum would need features that the other suites do not use, and it sends no last words.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The server ends the connection, with a reason for people to read.
    GoAway(String),
}

pub(crate) struct Http2Server {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Http2Server {
    /// The server calls `reply` with the number of the request: 0 for the first.
    pub(crate) async fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let reply = Arc::new(reply);
        let serving = tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                // An error means that the client went away.
                let _ = serve(stream, &mut number, &*reply).await;
            }
        });
        Self { address, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Serves one connection after the other, because a client uses only one.
async fn serve<F>(mut stream: TcpStream, number: &mut usize, reply: &F) -> io::Result<()>
where
    F: Fn(usize) -> Reply + Sync,
{
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        stream.read_exact(&mut payload).await?;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if kind == SETTINGS && flags & ACK == 0 {
            stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            let reply = reply(*number);
            *number += 1;
            match reply {
                Reply::Answer { status, headers, body } => {
                    let mut block = vec![0x08];
                    push_string(&mut block, &status.to_string());
                    for (name, value) in &headers {
                        block.push(0);
                        push_string(&mut block, name);
                        push_string(&mut block, value);
                    }
                    stream.write_all(&frame(HEADERS, END_HEADERS, id, &block)).await?;
                    stream.write_all(&frame(DATA, END_STREAM, id, body.as_bytes())).await?;
                }
                Reply::GoAway(reason) => {
                    let mut payload = 0_u32.to_be_bytes().to_vec();
                    payload.extend(ENHANCE_YOUR_CALM.to_be_bytes());
                    payload.extend(reason.as_bytes());
                    stream.write_all(&frame(GO_AWAY, 0, 0, &payload)).await?;
                    return stream.shutdown().await;
                }
            }
        }
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A string literal without Huffman coding (RFC 7541 5.2).
fn push_string(block: &mut Vec<u8>, text: &str) {
    let mut rest = text.len();
    if rest < 127 {
        block.push(u8::try_from(rest).expect("seven bits"));
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).expect("seven bits") | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).expect("seven bits"));
    }
    block.extend(text.as_bytes());
}
