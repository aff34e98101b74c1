//! The effect of the proxy on a server that echoes.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Proxy;
use crate::undisturbed;

/// Data that has not come after this time does not come.
const SOON: Duration = Duration::from_millis(100);
/// Any machine is faster than this.
const PATIENCE: Duration = Duration::from_secs(30);

async fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    port
}

async fn connected(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
}

async fn is_echoed(stream: &mut TcpStream) -> bool {
    is_echoed_within(PATIENCE, stream).await
}

async fn is_echoed_soon(stream: &mut TcpStream) -> bool {
    is_echoed_within(SOON, stream).await
}

async fn is_echoed_within(limit: Duration, stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").await.is_ok()
        && timeout(limit, stream.read_u8()).await.is_ok_and(|byte| byte.is_ok())
}

#[tokio::test]
async fn what_is_held_comes_later_and_what_is_lost_never() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = connected(&proxy).await;
    assert!(is_echoed(&mut stream).await);

    proxy.hold();
    assert!(!is_echoed_soon(&mut stream).await);
    proxy.pass();
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'x');

    proxy.swallow_answers();
    assert!(!is_echoed_soon(&mut stream).await);
    proxy.pass();
    assert!(!is_echoed_soon(&mut stream).await, "half a stream is none");
    assert!(is_echoed(&mut connected(&proxy).await).await);

    proxy.swallow();
    assert!(!is_echoed_soon(&mut connected(&proxy).await).await);
}

#[tokio::test]
async fn delays_do_not_add_up() {
    undisturbed(|| async {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = connected(&proxy).await;
        proxy.set_delay(Duration::from_millis(50));
        let begun = Instant::now();
        for _ in 0..5 {
            stream.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stream.read_exact(&mut [0; 5]).await.unwrap();
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(400), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_cut_ends_what_is_open_and_nothing_else() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = connected(&proxy).await;
    assert!(is_echoed(&mut stream).await);
    assert_eq!(proxy.connections(), 1);
    proxy.cut();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(is_echoed(&mut connected(&proxy).await).await);
}

#[tokio::test]
async fn a_turn_is_whatever_is_said_before_the_next_answer() {
    let proxy = Proxy::start(answering_two().await).await.unwrap();
    let mut stream = connected(&proxy).await;
    assert_eq!(proxy.turns(), 0);
    for turns in 1..=3 {
        stream.write_all(b"x").await.unwrap();
        while proxy.turns() < turns {
            tokio::task::yield_now().await;
        }
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(proxy.turns(), turns);
    }
    let mut another = connected(&proxy).await;
    another.write_all(b"xx").await.unwrap();
    another.read_exact(&mut [0; 2]).await.unwrap();
    assert_eq!(proxy.turns(), 4, "each connection has its own");
}

/// Sends two bytes back after it has got both, and nothing before.
async fn answering_two() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut two = [0; 2];
                while stream.read_exact(&mut two).await.is_ok() && stream.write_all(&two).await.is_ok() {}
            });
        }
    });
    port
}
