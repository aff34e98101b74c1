//! The cost of a storage: one connection, and no command per hit (invariant 19).

use std::sync::LazyLock;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use requestforge::redis::cmd;
use requestforge::storage::CoolDownPolicy;
use requestforge::{RedisTokenStorage, TokenData, TokenManager, TokenStorage};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::patient;
use crate::world::{World, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_is_one_connection_however_many_use_it() {
    let world = World::start().await;
    let storage = world.storage();
    assert_eq!(others_connected(&world).await, 0, "`build` does no I/O");
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..100 {
        let manager = world.manager(&format!("key {}", number % 10), storage.clone());
        asking.spawn(async move {
            manager.get_token().await.expect("a token");
            manager
        });
    }
    let managers = asking.join_all().await;
    assert_eq!(others_connected(&world).await, 1);
    assert_eq!(world.issuer.token_calls(), 10);
    drop(managers);
    assert_eq!(others_connected(&world).await, 1, "the storage is still there");
    drop(storage);
    assert!(soon(|| async { others_connected(&world).await == 0 }).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_a_hit_is_no_command() {
    let world = World::start().await;
    let manager = world.manager("crm", world.storage());
    manager.get_token().await.expect("a token");
    world.run::<()>(cmd("CONFIG").arg("RESETSTAT")).await;
    for _ in 0..10_000 {
        manager.get_token().await.expect("a token");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stats: String = world.run(cmd("INFO").arg("commandstats")).await;
    let commands: Vec<_> = stats.lines().filter(|line| line.starts_with("cmdstat_")).collect();
    assert!(commands.iter().all(|line| line.starts_with("cmdstat_config")), "{commands:?}");
}

#[test]
fn a_storage_that_is_dropped_leaves_no_task_and_no_connection() {
    let servers = Runtime::new().expect("a runtime");
    let world = servers.block_on(World::start());
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let storage = world.storage();
        let generation = storage.generation("crm");
        storage.set("crm", &TokenData::new("t")).await.expect("an answer");
        let leases = storage.leases().expect("leases");
        // One lease ends unused, one by a store, and one by a drop.
        drop(leases.lease("crm"));
        let (mut held, mut stored) = (leases.lease("held"), leases.lease("stored"));
        held.acquire(CoolDownPolicy::Respect).await.expect("an answer");
        stored.acquire(CoolDownPolicy::Respect).await.expect("an answer");
        stored.store(&TokenData::new("t"), None).await.expect("an answer");
        assert!(Handle::current().metrics().num_alive_tasks() > 0);
        drop((held, stored, storage, generation));
        assert!(soon(|| async { Handle::current().metrics().num_alive_tasks() == 0 }).await);
    });
    let is_gone = || async { others_connected(&world).await == 0 };
    assert!(servers.block_on(soon(is_gone)));
    assert_eq!(servers.block_on(world.run::<u8>(cmd("EXISTS").arg("{token:held}:lease"))), 0);
}

#[test]
fn inv03_one_static_storage_serves_two_runtimes_one_after_the_other() {
    static URL: OnceLock<String> = OnceLock::new();
    static STORAGE: LazyLock<RedisTokenStorage> =
        LazyLock::new(|| patient(URL.get().expect("set before")).build().expect("a storage"));
    static MANAGER: OnceLock<TokenManager> = OnceLock::new();

    let servers = Runtime::new().expect("a runtime");
    let world = servers.block_on(World::start());
    URL.set(world.redis.server.url()).expect("set once");
    let manager = MANAGER.get_or_init(|| world.manager("crm", STORAGE.clone()));
    let mut last = None;
    for number in 0..4 {
        let mut runtime =
            if number % 2 == 0 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
        let runtime = runtime.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let token = manager.get_token().await.expect("a token");
            assert!(last.is_none_or(|last| last == token.id()), "the token is still good");
            STORAGE.get("crm").await.expect("an answer").expect("a token");
            assert_eq!(others_connected(&world).await, 1);

            // This runtime also hears the changes of other processes.
            let other = world.manager("crm", world.storage());
            other.invalidate_token().await.expect("an answer");
            assert!(soon(|| async { manager.cached().is_none() }).await, "runtime {number} hears nothing");
            last = Some(manager.get_token().await.expect("a token").id());
            assert_eq!(world.issuer.token_calls(), number + 2);
        });
    }
}

#[test]
fn inv03_a_runtime_that_nobody_drives_holds_no_other_up() {
    let servers = Runtime::new().expect("a runtime");
    let world = servers.block_on(World::start());
    let storage = RedisTokenStorage::new(world.redis.server.url()).expect("a storage");
    let manager = world.manager("crm", storage.clone());
    let idle = Builder::new_current_thread().enable_all().build().expect("a runtime");
    idle.block_on(async {
        manager.get_token().await.expect("a token");
        assert!(soon(|| async { storage.get("crm").await.is_ok_and(|token| token.is_some()) }).await);
    });
    // The storage still exists, with its connection, but its tasks do not run.
    servers.block_on(async {
        let begun = Instant::now();
        while !storage.get("crm").await.is_ok_and(|token| token.is_some()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody else keeps a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("the runtime of the connection stands still: back after {:?}", begun.elapsed());
    });
    drop(idle);
}

/// The connections without the world's own.
pub(crate) async fn others_connected(world: &World) -> usize {
    let clients: String = world.run(cmd("CLIENT").arg("LIST")).await;
    clients.lines().count() - 1
}
