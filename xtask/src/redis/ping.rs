//! Asks a server for its version.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The version of the Redis on a port of this machine, as soon as it answers.
///
/// # Errors
///
/// When the Redis does not answer within `limit`, or `has_ended` returns true.
pub(crate) fn version(
    port: u16,
    limit: Duration,
    mut has_ended: impl FnMut() -> bool,
) -> Result<String, String> {
    let start = Instant::now();
    loop {
        match ask(port) {
            Ok(version) => return Ok(version),
            Err(error) if start.elapsed() >= limit || has_ended() => {
                return Err(format!("port {port} of this machine does not answer: {error}"));
            }
            // A container's port is open before the server inside listens.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn ask(port: u16) -> io::Result<String> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), limit)?;
    stream.set_read_timeout(Some(limit))?;
    // QUIT, so that the answer ends with the connection.
    stream.write_all(b"INFO server\r\nQUIT\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let version = answer.lines().find_map(|line| line.strip_prefix("redis_version:"));
    version
        .map(|version| version.trim().to_owned())
        .ok_or_else(|| io::Error::other("the answer is not that of a Redis"))
}
