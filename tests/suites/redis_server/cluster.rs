//! A cluster.

use std::time::{Duration, Instant};

use forge_tests::{RedisCluster, RedisNode};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{ask, ask_at, says};

#[tokio::test]
async fn a_cluster_is_complete_when_it_has_started() {
    let start = Instant::now();
    let cluster = RedisCluster::start().await;
    println!("{cluster:?} started in {:?}", start.elapsed());
    assert_eq!(cluster.nodes().len(), 6);
    let urls: Vec<_> =
        cluster.nodes().iter().map(|node| format!("redis://127.0.0.1:{}", node.port())).collect();
    assert_eq!(cluster.urls(), urls);

    let mut masters = Vec::new();
    // Their slots are 15495, 3300 and 7365.
    for key in ["a", "b", "c"] {
        let master = cluster.master_of(key).await;
        assert_eq!(ask_at(master.port(), &format!("SET {key} value")).await, "+OK\r\n");
        let [replica] = cluster.replicas_of(master).await[..] else { panic!("not one replica") };
        says(replica, "role:slave").await;
        masters.push(master);
    }
    masters.dedup();
    assert_eq!(masters.len(), 3, "each has its third");

    let moved = ask_at(masters[1].port(), "GET a").await;
    assert_eq!(moved, format!("-MOVED 15495 127.0.0.1:{}\r\n", masters[0].port()));

    let ports: Vec<u16> = cluster.nodes().iter().map(RedisNode::port).collect();
    cluster.pause(masters[1]).await;
    drop(cluster);
    for port in ports {
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "a node outlives its owner");
    }
}

#[tokio::test]
async fn a_paused_master_is_replaced_and_comes_back_as_a_replica() {
    let cluster = RedisCluster::start().await;
    let old = cluster.master_of("foo").await;
    assert_eq!(cluster.failed_over("foo").await, old, "nothing has happened");
    let mut connected = TcpStream::connect(("127.0.0.1", old.port())).await.unwrap();

    let paused = Instant::now();
    cluster.pause(old).await;
    assert!(timeout(Duration::from_millis(200), ask(&mut connected, "PING")).await.is_err());
    let new = cluster.failed_over("foo").await;
    println!("failed over in {:?}", paused.elapsed());
    assert_ne!(new, old);
    assert_eq!(ask_at(new.port(), "SET foo value").await, "+OK\r\n");

    cluster.resume(old).await;
    cluster.ready().await;
    says(old, "role:slave").await;
    assert_eq!(cluster.master_of("foo").await, new);
    assert_eq!(cluster.replicas_of(new).await, [old]);
}

#[tokio::test]
async fn a_killed_master_is_replaced_and_comes_back_as_a_replica() {
    let mut cluster = RedisCluster::start().await;
    let old = cluster.master_of("foo").await;
    let mut connected = TcpStream::connect(("127.0.0.1", old.port())).await.unwrap();

    let killed = Instant::now();
    cluster.kill(old).await;
    // The server closes the connection, or resets it.
    assert_eq!(ask(&mut connected, "PING").await.unwrap_or_default(), "");
    let new = cluster.failed_over("foo").await;
    println!("failed over in {:?}", killed.elapsed());
    assert_ne!(new, old);

    cluster.start_again(old).await;
    cluster.ready().await;
    says(old, "role:slave").await;
    assert_eq!(cluster.replicas_of(new).await, [old]);
}

#[tokio::test]
async fn a_slot_moves_while_it_is_in_use() {
    let cluster = RedisCluster::start().await;
    let from = cluster.master_of("{foo}1").await;
    let to = cluster.master_of("bar").await;
    assert_eq!(ask_at(from.port(), "SET {foo}1 value").await, "+OK\r\n");

    let moving = cluster.begin_to_move("foo", to).await;
    assert_eq!((moving.from(), moving.to()), (from, to));
    assert_eq!(ask_at(from.port(), "GET {foo}1").await, "$5\r\nvalue\r\n");
    let asked = format!("-ASK 12182 127.0.0.1:{}\r\n", to.port());
    assert_eq!(ask_at(from.port(), "GET {foo}2").await, asked, "what is not there may be at the other");
    moving.move_keys().await;
    assert_eq!(ask_at(from.port(), "GET {foo}1").await, asked);
    let moved = format!("-MOVED 12182 127.0.0.1:{}\r\n", from.port());
    assert_eq!(ask_at(to.port(), "GET {foo}1").await, moved, "only those who were sent are answered");
    let mut sent = TcpStream::connect(("127.0.0.1", to.port())).await.unwrap();
    assert_eq!(ask(&mut sent, "ASKING").await.unwrap(), "+OK\r\n");
    assert_eq!(ask(&mut sent, "GET {foo}1").await.unwrap(), "$5\r\nvalue\r\n");

    moving.finish().await;
    assert_eq!(cluster.master_of("foo").await, to);
    assert_eq!(ask_at(to.port(), "GET {foo}1").await, "$5\r\nvalue\r\n");

    let start = Instant::now();
    let third = cluster.move_slot("foo").await;
    println!("moved in {:?}", start.elapsed());
    assert_ne!(third, to);
    assert_eq!(cluster.master_of("foo").await, third);
    assert_eq!(ask_at(third.port(), "GET {foo}1").await, "$5\r\nvalue\r\n");
}

#[tokio::test]
async fn a_cluster_lets_in_whom_its_arguments_name() {
    let user = ["--user", "app", "on", ">word", "~*", "+@all"];
    let cluster = RedisCluster::start_with(&[&["--requirepass", "secret"][..], &user].concat()).await;
    for node in cluster.nodes() {
        assert!(ask_at(node.port(), "PING").await.starts_with("-NOAUTH"));
        let mut connected = TcpStream::connect(("127.0.0.1", node.port())).await.unwrap();
        assert_eq!(ask(&mut connected, "AUTH secret").await.unwrap(), "+OK\r\n");
        assert_eq!(ask(&mut connected, "AUTH app word").await.unwrap(), "+OK\r\n");
        assert_eq!(ask(&mut connected, "PING").await.unwrap(), "+PONG\r\n");
    }
    let master = cluster.master_of("foo").await;
    let mut connected = TcpStream::connect(("127.0.0.1", master.port())).await.unwrap();
    assert_eq!(ask(&mut connected, "AUTH app word").await.unwrap(), "+OK\r\n");
    assert_eq!(ask(&mut connected, "SET foo value").await.unwrap(), "+OK\r\n");
    let third = cluster.move_slot("foo").await;
    assert_ne!(third, master, "servers let each other in");
}
