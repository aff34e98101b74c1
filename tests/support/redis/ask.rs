//! The questions of the fixtures themselves to their servers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::redis::tls::Tls;

/// A server on this machine answers at once, if it answers at all.
const LIMIT: Duration = Duration::from_secs(1);

/// The credentials and the TLS that a server wants.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) password: Option<String>,
    pub(super) tls: Option<Tls>,
}

impl Access {
    /// For a server with these arguments.
    pub(super) fn by(args: &[&str], tls: Option<Tls>) -> Self {
        let password = args.windows(2).rev().find(|pair| pair[0] == "--requirepass");
        Self { password: password.map(|pair| pair[1].to_owned()), tls }
    }

    /// Asks over a new connection. An answer with many parts becomes a flat list of them.
    ///
    /// # Errors
    ///
    /// There is no answer, or the answer is an error.
    pub(super) async fn ask(&self, port: u16, words: &[&str]) -> io::Result<Vec<String>> {
        let exchange = async {
            let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
            let stream: Box<dyn Stream> = match &self.tls {
                Some(tls) => Box::new(tls.connect(stream).await?),
                None => Box::new(stream),
            };
            let mut stream = BufStream::new(stream);
            if let Some(password) = &self.password {
                say(&mut stream, &["AUTH", password]).await?;
                hear(&mut stream).await?;
            }
            say(&mut stream, words).await?;
            hear(&mut stream).await
        };
        timeout(LIMIT, exchange).await?
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn say(stream: &mut BufStream<Box<dyn Stream>>, words: &[&str]) -> io::Result<()> {
    stream.write_all(format!("*{}\r\n", words.len()).as_bytes()).await?;
    for word in words {
        stream.write_all(format!("${}\r\n{word}\r\n", word.len()).as_bytes()).await?;
    }
    stream.flush().await
}

async fn hear(stream: &mut BufStream<Box<dyn Stream>>) -> io::Result<Vec<String>> {
    let mut parts = Vec::new();
    let mut missing = 1;
    while missing > 0 {
        missing -= 1;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        match kind {
            "+" | ":" => parts.push(rest.to_owned()),
            "-" => return Err(io::Error::other(rest)),
            // A length of -1 means a missing value.
            "$" => {
                if let Ok(length) = rest.parse::<usize>() {
                    let mut text = vec![0; length + 2];
                    stream.read_exact(&mut text).await?;
                    text.truncate(length);
                    parts.push(String::from_utf8_lossy(&text).into_owned());
                }
            }
            "*" => missing += rest.parse().unwrap_or(0),
            _ => return Err(io::Error::other(line)),
        }
    }
    Ok(parts)
}
