//! A server with as little work as possible, so that nearly all of a request's cost is its client's.

use std::io::{Write, stdin, stdout};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;
use crate::child::Process;

/// The command that starts the server.
pub(crate) const WORD: &str = "serve";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const END_OF_REQUEST: &[u8] = b"\r\n\r\n";

/// A server in a separate process, so that its work does not count as the client's.
pub(crate) struct Server {
    _process: Process,
    url: String,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        Self::of(Process::of_ourselves(&[WORD])?)
    }

    /// Starts the server on this processor alone.
    pub(crate) fn start_on(processor: usize) -> Result<Self> {
        Self::of(Process::of_ourselves(&[WORD, &processor.to_string()])?)
    }

    fn of(mut process: Process) -> Result<Self> {
        let url = process.line()?;
        Ok(Self { _process: process, url })
    }

    /// The server's URL, without a path.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Runs the server's process: prints its URL, and answers requests without a body until standard input ends.
pub(crate) fn serve() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(stdout(), "http://{}", listener.local_addr()?)?;
        let until_end = tokio::task::spawn_blocking(|| std::io::copy(&mut stdin(), &mut std::io::sink()));
        let accepting = async {
            loop {
                let (stream, _) = listener.accept().await?;
                // The server ignores the error of a client that goes away.
                tokio::spawn(answer(stream));
            }
        };
        tokio::select! {
            ended = until_end => Ok(ended?.map(drop)?),
            failed = accepting => failed,
        }
    })
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    while stream.read_buf(&mut buffer).await? > 0 {
        while let Some(at) = buffer.windows(END_OF_REQUEST.len()).position(|bytes| bytes == END_OF_REQUEST) {
            buffer.drain(..at + END_OF_REQUEST.len());
            stream.write_all(ANSWER).await?;
        }
    }
    Ok(())
}
