//! One server.

use std::time::{Duration, Instant};

use forge_tests::RedisServer;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ask;

/// Whether the server answers within a time that is enough for a running server.
async fn answers(server: &RedisServer) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await?;
        Ok::<_, std::io::Error>(ask(&mut stream, "PING").await? == "+PONG\r\n")
    };
    timeout(Duration::from_millis(200), exchange).await.is_ok_and(|answer| answer.is_ok_and(|pong| pong))
}

async fn goes_through_everything(mut server: RedisServer, started: Instant) {
    println!("{server:?} started in {:?}", started.elapsed());
    let port = server.port();
    assert_eq!(server.url(), format!("redis://127.0.0.1:{port}"));
    assert!(answers(&server).await);

    let mut connected = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(ask(&mut connected, "SET key value").await.unwrap(), "+OK\r\n");
    server.pause().await;
    assert!(!answers(&server).await, "it answers though it is paused");
    let late = ask(&mut connected, "GET key");
    tokio::pin!(late);
    assert!(timeout(Duration::from_millis(200), &mut late).await.is_err());
    server.resume().await;
    assert_eq!(late.await.unwrap(), "$5\r\nvalue\r\n", "what came in meanwhile is answered");

    // The same while the server is paused.
    for paused in [false, true] {
        if paused {
            server.pause().await;
        }
        let stopped = Instant::now();
        server.stop().await;
        let refused = TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let again = Instant::now();
        server.start_again().await;
        println!("stopped in {:?}, started again in {:?}", again - stopped, again.elapsed());
        assert_eq!(server.port(), port);
        assert!(answers(&server).await);
        let mut connected = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(ask(&mut connected, "DBSIZE").await.unwrap(), ":0\r\n", "it comes back empty");
    }

    server.pause().await;
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "it outlives its owner");
}

#[tokio::test]
async fn a_server_goes_through_everything() {
    let started = Instant::now();
    goes_through_everything(RedisServer::start().await, started).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_other_kind_does_too() {
    let started = Instant::now();
    match RedisServer::start_other().await {
        Some(server) => goes_through_everything(server, started).await,
        None => println!("not tried: this machine has one kind only"),
    }
}

#[tokio::test]
async fn arguments_are_passed_on_and_servers_share_nothing() {
    let (one, other) = tokio::join!(RedisServer::start_with(&["--maxmemory", "4mb"]), RedisServer::start());
    let mut connected = TcpStream::connect(("127.0.0.1", one.port())).await.unwrap();
    let answer = ask(&mut connected, "CONFIG GET maxmemory").await.unwrap();
    assert!(answer.contains("4194304"), "{answer}");
    assert_eq!(ask(&mut connected, "SET key value").await.unwrap(), "+OK\r\n");
    let mut connected = TcpStream::connect(("127.0.0.1", other.port())).await.unwrap();
    assert_eq!(ask(&mut connected, "DBSIZE").await.unwrap(), ":0\r\n");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let error = RedisServer::try_start_with(&["--no-such-setting", "1"]).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("no-such-setting"), "{error}");
}

#[test]
fn a_server_may_be_dropped_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(RedisServer::start());
    let port = server.port();
    drop(runtime);
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "it outlives its owner");
}
