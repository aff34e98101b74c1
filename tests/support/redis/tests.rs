//! The library understands the finder's answers. The suite `redis_server` tests the servers themselves.

use crate::redis::finder::{FinderOutcome, Image, parse};
use crate::redis::{RedisCluster, RedisNode, RedisSentinel, RedisServer, port};

/// The test is that it compiles: suites use all of it in tasks of their own.
#[allow(dead_code)]
fn tasks_may_use_servers(node: RedisNode, mut cluster: RedisCluster, mut redis: RedisSentinel) {
    fn may_be_a_task(_: impl Send + 'static) {}
    may_be_a_task(RedisServer::start());
    may_be_a_task(async move {
        cluster.ready().await;
        cluster.pause(cluster.master_of("key").await).await;
        cluster.resume(cluster.failed_over("key").await).await;
        cluster.kill(cluster.move_slot("key").await).await;
        cluster.start_again(node).await;
        drop(cluster.replicas_of(node).await);
    });
    may_be_a_task(RedisCluster::start());
    may_be_a_task(async move {
        redis.ready().await;
        redis.resume(redis.pause_master().await).await;
        let old = redis.kill_master().await;
        redis.start_again(old).await;
        redis.failed_over().await;
    });
    may_be_a_task(RedisSentinel::start());
}

#[test]
fn both_kinds_are_understood() {
    let told = r#"{
        "kind": "container", "version": "7.4.6", "image": "localhost/redis:7.4.6",
        "command": ["redis-server"], "labels": { "requestforge.run": "1" },
        "other": { "kind": "native", "version": "7.0.15", "command": ["/bin/redis-server", "x"] }
    }"#;
    let finding = parse(told).unwrap();
    let image = Image {
        name: "localhost/redis".into(),
        tag: "7.4.6".into(),
        command: vec!["redis-server".into()],
        labels: vec![("requestforge.run".into(), "1".into())],
    };
    assert_eq!(finding.server, FinderOutcome::Container(image));
    assert_eq!(finding.other, Some(FinderOutcome::Native(vec!["/bin/redis-server".into(), "x".into()])));
}

#[test]
fn anything_else_is_not() {
    for told in ["", "{}", r#"{"kind":"native","command":[]}"#, r#"{"kind":"cloud","command":["x"]}"#] {
        assert!(parse(told).is_err(), "{told}");
    }
}

#[test]
fn the_finders_sentence_is_passed_on() {
    assert_eq!(parse(r#"{"error":"there is no Redis"}"#).err().unwrap(), "there is no Redis");
}

#[test]
fn no_port_is_handed_out_twice() {
    let first = port::free().unwrap();
    assert!((0..100).all(|_| port::free().unwrap() != first));
}
