//! A master with replicas and sentinels.

use std::time::{Duration, Instant};

use forge_tests::{RedisNode, RedisSentinel};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{ask, ask_at, says};

#[tokio::test]
async fn all_are_there_when_they_have_started() {
    let start = Instant::now();
    let redis = RedisSentinel::start().await;
    println!("{redis:?} started in {:?}", start.elapsed());
    let urls: Vec<_> =
        redis.sentinels().iter().map(|node| format!("redis://127.0.0.1:{}", node.port())).collect();
    assert_eq!(redis.sentinel_urls(), urls);
    assert_eq!(urls.len(), 3);

    let master = redis.master().await;
    assert_eq!(redis.servers().iter().filter(|node| **node != master).count(), 2);
    assert_eq!(ask_at(master.port(), "SET key value").await, "+OK\r\n");
    for sentinel in redis.sentinels() {
        let name = redis.master_name();
        let told = ask_at(sentinel.port(), &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {name}")).await;
        let port = master.port().to_string();
        assert_eq!(told, format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()));
        let told = ask_at(sentinel.port(), &format!("SENTINEL CKQUORUM {name}")).await;
        assert!(told.starts_with("+OK 3 usable Sentinels"), "{told}");
    }

    let ports: Vec<u16> = redis.servers().iter().chain(&redis.sentinels()).map(RedisNode::port).collect();
    redis.pause(master).await;
    drop(redis);
    for port in ports {
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "one outlives its owner");
    }
}

#[tokio::test]
async fn a_paused_master_is_replaced_and_becomes_a_replica() {
    for _ in 0..MAX_ROUNDS {
        let redis = RedisSentinel::start().await;
        let before = redis.failed_over().await;
        let mut connected = TcpStream::connect(("127.0.0.1", before.port())).await.unwrap();
        let paused = Instant::now();
        let old = redis.pause_master().await;
        assert_eq!(old, before, "nothing had happened");
        assert!(timeout(Duration::from_millis(200), ask(&mut connected, "PING")).await.is_err());
        let new = redis.failed_over().await;
        println!("failed over in {:?}", paused.elapsed());
        assert_ne!(new, old);
        let failover = redis.last_failover().await;
        assert_eq!(ask_at(new.port(), "SET key value").await, "+OK\r\n");

        let resumed = Instant::now();
        redis.resume(old).await;
        says(old, "role:slave").await;
        println!("the old master was told in {:?}", resumed.elapsed());
        redis.ready().await;
        let master = redis.master().await;
        if redis.last_failover().await == failover {
            assert_eq!(master, new);
            return;
        }
    }
    panic!("{ALWAYS_ANOTHER}");
}

#[tokio::test]
async fn a_killed_master_is_replaced_and_becomes_a_replica() {
    for _ in 0..MAX_ROUNDS {
        let mut redis = RedisSentinel::start().await;
        let killed = Instant::now();
        let old = redis.kill_master().await;
        let new = redis.failed_over().await;
        println!("failed over in {:?}", killed.elapsed());
        assert_ne!(new, old);
        let failover = redis.last_failover().await;

        redis.start_again(old).await;
        says(old, "role:slave").await;
        redis.ready().await;
        let master = redis.master().await;
        if redis.last_failover().await == failover {
            assert_eq!(master, new);
            return;
        }
    }
    panic!("{ALWAYS_ANOTHER}");
}

/// If the machine stands still for a second, the sentinels take the new master for dead too, and agree on a
/// third one. Such a round does not test the old master.
const MAX_ROUNDS: usize = 4;
const ALWAYS_ANOTHER: &str = "the sentinels have replaced the new master in each round";

#[tokio::test]
async fn servers_and_sentinels_let_in_whom_their_arguments_name() {
    let user = ["--user", "app", "on", ">word", "~*", "&*", "+@all"];
    let args = [&["--requirepass", "secret"][..], &user].concat();
    let redis = RedisSentinel::start_with(&args, &["--requirepass", "other"]).await;
    for (nodes, password) in [(redis.servers(), "AUTH secret"), (redis.sentinels(), "AUTH other")] {
        for node in nodes {
            assert!(ask_at(node.port(), "PING").await.starts_with("-NOAUTH"));
            let mut connected = TcpStream::connect(("127.0.0.1", node.port())).await.unwrap();
            assert_eq!(ask(&mut connected, password).await.unwrap(), "+OK\r\n");
        }
    }
    let old = redis.pause_master().await;
    let new = redis.failed_over().await;
    assert_ne!(new, old);
    let mut connected = TcpStream::connect(("127.0.0.1", new.port())).await.unwrap();
    assert_eq!(ask(&mut connected, "AUTH app word").await.unwrap(), "+OK\r\n");
    assert_eq!(ask(&mut connected, "SET key value").await.unwrap(), "+OK\r\n");
}
