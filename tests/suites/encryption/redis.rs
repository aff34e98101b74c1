//! The same in Redis, where other programs can look. The test searches all data of the server.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::{RedisCluster, RedisServer};
use requestforge::redis::cmd;
use requestforge::storage::{CoolDownPolicy, MarkTakeover, RedisTokenStorageBuilder};
use requestforge::testing::storage_conformance;
use requestforge::{RedisTokenStorage, TokenData, TokenStorage};

use crate::canaries::Canaries;
use crate::connection::connection;
use crate::rotation;
use crate::secrets;
use crate::world::{KEY, encrypted};

/// Each connection is a process: the processes share only the server.
fn processes(
    builder: impl Fn() -> RedisTokenStorageBuilder + Clone + Send + Sync + 'static,
) -> impl Fn() -> Arc<dyn TokenStorage> + Clone + Send + Sync + 'static {
    // The test measures nothing here, so it allows for a busy machine.
    move || Arc::new(builder().command_timeout(Duration::from_secs(10)).build().expect("a storage"))
}

fn one(redis: &RedisServer) -> impl Fn() -> Arc<dyn TokenStorage> + Clone + Send + Sync + 'static {
    let url = redis.url();
    processes(move || RedisTokenStorage::builder(&url))
}

fn in_cluster(cluster: &RedisCluster) -> impl Fn() -> Arc<dyn TokenStorage> + Clone + Send + Sync + 'static {
    let urls = cluster.urls();
    processes(move || RedisTokenStorage::cluster(&urls))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_rotation_under_load_costs_no_token_call_in_redis() {
    rotation::rotates(one(&RedisServer::start().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_with_the_old_key_gone_there_is_one_fetch_and_no_error_in_redis() {
    rotation::loses_the_old_key(one(&RedisServer::start().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_keys_rotate_in_a_cluster_as_well() {
    let cluster = RedisCluster::start().await;
    rotation::rotates(in_cluster(&cluster)).await;
    storage_conformance::check(encrypted(in_cluster(&cluster)(), &["k1"]), "conformance:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_it_does_what_every_storage_must_do() {
    let redis = RedisServer::start().await;
    storage_conformance::check(encrypted(one(&redis)(), &["k1"]), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_a_dump_of_the_server_holds_no_token() {
    let redis = RedisServer::start().await;
    let mut canaries = Canaries::new([]);
    let token = secrets::token(&mut canaries);
    let storage = encrypted(one(&redis)(), &["k1"]);
    secrets::use_it(&storage, &token).await;
    // The token has a lease, a mark and a cool-down beside it.
    let leases = storage.leases().expect("leases");
    let mut lease = leases.lease(KEY);
    lease.acquire(CoolDownPolicy::Respect).await.expect("an answer");
    lease.mark_refresh_token(token.id(), MarkTakeover::Never).await.expect("an answer");
    let mut failing = leases.lease("failing");
    failing.acquire(CoolDownPolicy::Respect).await.expect("an answer");
    failing.fail(&requestforge::storage::CoolDown::new(Duration::from_secs(60), 1)).await.expect("an answer");

    let dump = dump(&redis.url()).await;
    let keys: Vec<_> = dump.iter().map(|(key, _)| key.as_str()).collect();
    for key in ["token:crm", "{token:crm}:meta", "{token:crm}:lease", "{token:failing}:cool-down"] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
    for (key, value) in &dump {
        secrets::look_into(&mut canaries, key, value);
    }
    canaries.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_without_encryption_a_dump_holds_it() {
    let redis = RedisServer::start().await;
    let mut canaries = Canaries::new([]);
    let token = secrets::token(&mut canaries);
    one(&redis)().set(KEY, &token).await.expect("an answer");
    let (_, record) =
        dump(&redis.url()).await.into_iter().find(|(key, _)| key == "token:crm").expect("a record");
    let record = String::from_utf8(record).expect("text");
    assert!(record.contains(&serde_json::to_string(token.access_token()).expect("JSON")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv20_a_record_that_is_moved_to_another_key_is_none() {
    let redis = RedisServer::start().await;
    let storage = encrypted(one(&redis)(), &["k1"]);
    storage.set(KEY, &TokenData::new("of the crm")).await.expect("an answer");
    let mut server = connection(&redis.url()).await;
    for key in ["token:erp", "token:crm:2"] {
        cmd("COPY").arg("token:crm").arg(key).exec_async(&mut server).await.expect("an answer");
    }
    for key in ["erp", "crm:2"] {
        assert_eq!(storage.get(key).await.expect("an answer"), None);
    }
    assert!(storage.exists(KEY).await.expect("an answer"));
}

/// All keys, and their values.
async fn dump(url: &str) -> Vec<(String, Vec<u8>)> {
    let mut server = connection(url).await;
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut server).await.expect("an answer");
    let mut dump = Vec::new();
    for key in keys {
        let kind: String = cmd("TYPE").arg(&key).query_async(&mut server).await.expect("an answer");
        let parts: Vec<Vec<u8>> = match kind.as_str() {
            "string" => vec![cmd("GET").arg(&key).query_async(&mut server).await.expect("an answer")],
            "hash" => cmd("HGETALL").arg(&key).query_async(&mut server).await.expect("an answer"),
            other => panic!("{key} is a {other}"),
        };
        dump.push((key, parts.join(&b'\n')));
    }
    dump
}
