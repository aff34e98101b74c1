//! The part of HTTP that a container engine needs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    #[cfg(unix)]
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

/// The body of a request.
pub(crate) enum Body {
    Nothing,
    Json(String),
    Tar(PathBuf),
}

pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Body,
    /// For the first byte of the answer.
    pub(crate) first: Duration,
    /// For all of it.
    pub(crate) limit: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends the request and returns the answer with any status.
///
/// # Errors
///
/// When no answer comes in time, or the answer is not HTTP.
pub(crate) fn send(address: &Address, request: Request) -> Result<Response, String> {
    let start = Instant::now();
    let (first, limit) = (request.first, request.limit);
    let (sender, receiver) = mpsc::channel();
    let address = address.clone();
    // A thread, because connecting to the socket of a stopped process has no time-out. A thread that waits in vain ends
    // with xtask.
    thread::spawn(move || {
        let outcome = exchange(&address, request, &sender);
        let _ = sender.send(Event::End(outcome));
    });
    let mut event = receiver.recv_timeout(first.min(limit));
    if matches!(event, Ok(Event::Begin)) {
        event = receiver.recv_timeout(limit.saturating_sub(start.elapsed()));
    }
    match event {
        Ok(Event::End(Ok(bytes))) => parse(&bytes),
        Ok(Event::End(Err(error))) => Err(error.to_string()),
        Err(RecvTimeoutError::Timeout) => Err(format!("no answer within {} s", start.elapsed().as_secs())),
        Ok(Event::Begin) | Err(RecvTimeoutError::Disconnected) => Err("no answer".into()),
    }
}

/// Percent-encodes a value for a query.
pub(crate) fn encoded(value: &str) -> String {
    use std::fmt::Write;
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

enum Event {
    Begin,
    End(io::Result<Vec<u8>>),
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn exchange(address: &Address, request: Request, events: &Sender<Event>) -> io::Result<Vec<u8>> {
    let mut stream: Box<dyn Stream> = match address {
        #[cfg(unix)]
        Address::Unix(path) => Box::new(UnixStream::connect(path)?),
        Address::Tcp(host) => Box::new(TcpStream::connect(host)?),
    };
    let Request { method, path, body, .. } = request;
    let (kind, length, mut source): (_, _, Box<dyn Read>) = match body {
        Body::Nothing => ("application/json", 0, Box::new(io::empty())),
        Body::Json(text) => {
            ("application/json", text.len() as u64, Box::new(io::Cursor::new(text.into_bytes())))
        }
        Body::Tar(path) => {
            let file = File::open(path)?;
            ("application/x-tar", file.metadata()?.len(), Box::new(file))
        }
    };
    // By 1.0 an answer is neither chunked nor followed by another one: it ends with the connection.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    io::copy(&mut source, &mut stream)?;
    stream.flush()?;

    let mut answer = vec![0; 1];
    stream.read_exact(&mut answer)?;
    let _ = events.send(Event::Begin);
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Result<Response, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.filter(|_| head.starts_with("HTTP/")).ok_or("the answer is not HTTP")?;
    Ok(Response { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn get(address: &Address) -> Result<Response, String> {
        let limit = Duration::from_millis(200);
        let request = Request { method: "GET", path: "/".into(), body: Body::Nothing, first: limit, limit };
        send(address, request)
    }

    fn listening() -> (TcpListener, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        (listener, address)
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let response = Response { status: 404, body: "{}".into() };
        assert_eq!(parse(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{}"), Ok(response));
        assert!(parse(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse(b"+PONG\r\n").is_err());
    }

    #[test]
    fn who_never_answers_is_given_up() {
        let (_listener, address) = listening();
        let start = Instant::now();
        assert!(get(&address).is_err_and(|why| why.contains("no answer within")));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn who_never_comes_to_an_end_is_given_up() {
        let (listener, address) = listening();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            while stream.write_all(b"H").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(get(&address).is_err_and(|why| why.contains("no answer within")));
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded(r#"{"label":["a=b"]}"#), "%7B%22label%22%3A%5B%22a%3Db%22%5D%7D");
    }
}
