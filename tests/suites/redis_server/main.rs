//! The Redis servers of the other suites start, freeze, go on, stop and come back. If there are several,
//! another one takes over.

#![allow(clippy::unwrap_used)]

mod cluster;
mod sentinel;
mod single;
mod tls;

use std::time::{Duration, Instant};

use forge_tests::RedisNode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Sends a command on a connection, and returns what the server sends next.
async fn ask(stream: &mut TcpStream, command: &str) -> std::io::Result<String> {
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// The same on a new connection.
async fn ask_at(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    ask(&mut stream, command).await.unwrap()
}

/// Waits until a node reports this about its replication.
async fn says(node: RedisNode, words: &str) {
    let start = Instant::now();
    loop {
        let told = ask_at(node.port(), "INFO replication").await;
        if told.contains(words) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{node:?} says {told}");
        sleep(Duration::from_millis(50)).await;
    }
}
