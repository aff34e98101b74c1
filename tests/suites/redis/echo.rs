//! A server that refuses every command, and repeats it.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Starts the server and returns its port. With `lets_in` the server accepts logins and subscriptions.
pub(crate) async fn start(lets_in: bool) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, lets_in));
        }
    });
    port
}

async fn answer(stream: TcpStream, lets_in: bool) {
    let mut stream = BufReader::new(stream);
    while let Some(words) = command(&mut stream).await {
        let name = words[0].to_ascii_uppercase();
        let answer = match name.as_str() {
            "HELLO" if lets_in => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            "CLIENT" if lets_in => "+OK\r\n".to_owned(),
            "PING" if lets_in => "+PONG\r\n".to_owned(),
            "SUBSCRIBE" if lets_in => {
                format!(">3\r\n$9\r\nsubscribe\r\n${}\r\n{}\r\n:1\r\n", words[1].len(), words[1])
            }
            _ => format!("-ERR what is {}\r\n", words.join(" ").replace(['\r', '\n'], " ")),
        };
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next command, an array of texts; `None` if there is none.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

/// A line such as `*3` or `$12`.
async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().get(1..)?.parse().ok()
}
