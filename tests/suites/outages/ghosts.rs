//! After a time-out the server may still carry out the command, when its client does not wait any more.

use std::time::{Duration, Instant};

use forge_tests::undisturbed;
use requestforge::storage::{CoolDownPolicy, LeaseOutcome, TokenLeases};
use requestforge::{RedisTokenStorage, TokenData, TokenStorage};
use tokio::time::sleep;

use crate::world::{KEY, Outage, World, stored, until};

const LEASE: Duration = Duration::from_millis(800);

fn token(name: &str) -> TokenData {
    TokenData::new(name).with_expires_in(Duration::from_secs(3_600))
}

async fn know_scripts(world: &World) {
    let near = world.near();
    let mut lease = leases(&near).lease("another key");
    assert!(matches!(lease.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    assert!(lease.store(&token("another"), None).await.expect("an answer"));
}

fn leases(storage: &RedisTokenStorage) -> &dyn TokenLeases {
    storage.leases().expect("leases")
}

/// A storage behind the proxy. The test has called all scripts before: the server asks for an unknown
/// script, and a client that has gone cannot send it.
async fn far(world: &World) -> RedisTokenStorage {
    know_scripts(world).await;
    let storage = world.far().lease(LEASE).build().expect("a storage");
    // As a manager does first. The answer tells the time, and the storage writes nothing without it.
    assert_eq!(storage.get(KEY).await.expect("an answer"), None);
    storage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_store_that_arrives_late_replaces_nothing_newer() {
    undisturbed(a_store_that_arrives_late_replaces_nothing_newer).await;
}

async fn a_store_that_arrives_late_replaces_nothing_newer() {
    let world = World::start().await;
    let (far, near) = (far(&world).await, world.near());
    let mut late = leases(&far).lease(KEY);
    assert!(matches!(late.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    world.proxy.hold();
    late.store(&token("late"), None).await.expect_err("no answer");

    // Its lease expires. Another process gets its turn, and ends it.
    let mut next = leases(&near).lease(KEY);
    assert!(matches!(next.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    assert!(next.store(&token("newer"), None).await.expect("an answer"));
    world.proxy.pass();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(token_of(&near).await.access_token(), "newer");
}

async fn token_of(storage: &RedisTokenStorage) -> TokenData {
    stored(storage).await.expect("a token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_what_a_late_holder_says_ends_no_foreign_lease() {
    undisturbed(what_a_late_holder_says_ends_no_foreign_lease).await;
}

async fn what_a_late_holder_says_ends_no_foreign_lease() {
    let world = World::start().await;
    let (far, near) = (far(&world).await, world.near());
    let mut late = leases(&far).lease(KEY);
    assert!(matches!(late.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    world.proxy.hold();
    late.store(&token("late"), None).await.expect_err("no answer");
    drop(late);

    let mut next = leases(&near).lease(KEY);
    assert!(matches!(next.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    world.proxy.pass();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(stored(&near).await, None);
    let third = RedisTokenStorage::new(world.redis.url()).expect("a storage");
    let mut third = leases(&third).lease(KEY);
    let acquiring = tokio::time::timeout(Duration::from_millis(300), third.acquire(CoolDownPolicy::Respect));
    assert!(acquiring.await.is_err(), "the lease is somebody else's");
    assert!(next.store(&token("newer"), None).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_store_that_timed_out_on_a_paused_server_is_found_done() {
    undisturbed(a_store_that_timed_out_on_a_paused_server_is_found_done).await;
}

async fn a_store_that_timed_out_on_a_paused_server_is_found_done() {
    let world = World::start().await;
    know_scripts(&world).await;
    let paused = world.facing(Outage::Paused).build().expect("a storage");
    let near = world.near();
    assert_eq!(stored(&paused).await, None);
    let mut lease = leases(&paused).lease(KEY);
    assert!(matches!(lease.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    world.redis.pause().await;
    lease.store(&token("late, but ours"), None).await.expect_err("no answer");
    drop(lease);
    world.redis.resume().await;
    let is_done = || async { stored(&near).await.is_some() };
    assert!(until(Duration::from_secs(2), is_done).await.is_some());
    assert_eq!(token_of(&near).await.access_token(), "late, but ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_lease_that_was_given_to_nobody_holds_up_nobody() {
    undisturbed(a_lease_that_was_given_to_nobody_holds_up_nobody).await;
}

async fn a_lease_that_was_given_to_nobody_holds_up_nobody() {
    let world = World::start().await;
    for _ in 0..3 {
        let paused = world.facing(Outage::Paused).build().expect("a storage");
        let near = world.near();
        assert_eq!(stored(&paused).await, None);
        world.redis.pause().await;
        let mut ghost = leases(&paused).lease(KEY);
        ghost.acquire(CoolDownPolicy::Respect).await.expect_err("no answer");
        drop(ghost);
        sleep(Duration::from_millis(50)).await;
        world.redis.resume().await;
        assert!(until(Duration::from_secs(1), || async { near.get(KEY).await.is_ok() }).await.is_some());

        let begun = Instant::now();
        let mut next = leases(&near).lease(KEY);
        assert!(matches!(next.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
        assert!(begun.elapsed() < Duration::from_secs(1), "the ghost held us up for {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_holder_that_is_gone_holds_others_up_for_its_lease_at_most() {
    undisturbed(a_holder_that_is_gone_holds_others_up_for_its_lease_at_most).await;
}

async fn a_holder_that_is_gone_holds_others_up_for_its_lease_at_most() {
    let world = World::start().await;
    let (far, near) = (far(&world).await, world.near());
    let mut gone = leases(&far).lease(KEY);
    assert!(matches!(gone.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    world.proxy.swallow();
    drop(gone);

    let begun = Instant::now();
    let mut next = leases(&near).lease(KEY);
    assert!(matches!(next.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    let waited = begun.elapsed();
    println!("taken over after {waited:?}");
    assert!(waited <= LEASE + Duration::from_secs(1));
    assert!(waited >= LEASE / 4, "it was still held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_manager_whose_writes_arrive_late_ends_up_with_what_the_others_have() {
    undisturbed(a_manager_whose_writes_arrive_late_ends_up_with_what_the_others_have).await;
}

async fn a_manager_whose_writes_arrive_late_ends_up_with_what_the_others_have() {
    let world = World::start().await;
    world.issuer.set_delay(Duration::from_millis(300));
    let near = world.near();
    let cut_off = world.manager(far(&world).await);
    let fetching = tokio::spawn({
        let manager = cut_off.clone();
        async move { manager.get_token().await.expect("a token") }
    });
    sleep(Duration::from_millis(150)).await;
    world.proxy.hold();
    let alone = fetching.await.expect("no panic");

    let other = world.manager(near.clone());
    let shared = other.get_token().await.expect("a token");
    assert_ne!(shared.id(), alone.id());
    world.proxy.pass();
    let agree = || async { cut_off.get_token().await.expect("a token").id() == shared.id() };
    assert!(until(Duration::from_secs(2), agree).await.is_some(), "they don't agree");
    assert_eq!(token_of(&near).await.id(), shared.id());
    // It may have heard of the other token before it could read it, and gone on with neither.
    assert!(world.issuer.token_calls() <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_what_is_stored_between_reading_and_storing_is_not_replaced() {
    undisturbed(what_is_stored_between_reading_and_storing_is_not_replaced).await;
}

async fn what_is_stored_between_reading_and_storing_is_not_replaced() {
    let world = World::start().await;
    know_scripts(&world).await;
    let storage = world.far().command_timeout(Duration::from_secs(10)).build().expect("a storage");
    let near = world.near();
    near.set(KEY, &token("read")).await.expect("an answer");
    assert_eq!(stored(&storage).await.map(|token| token.id()), Some(token("read").id()));
    let each_way = Duration::from_millis(200);
    world.proxy.set_delay(each_way);
    // Without a lease the storage has to say what it read. It reads, and then asks to replace that.
    let storing = tokio::spawn(async move {
        let mut late = leases(&storage).lease(KEY);
        late.store(&token("late"), Some(token("read").id())).await
    });
    sleep(each_way * 4).await;
    near.set(KEY, &token("newer")).await.expect("an answer");
    assert!(!storing.await.expect("no panic").expect("an answer"), "it says that it has stored");
    assert_eq!(token_of(&near).await.access_token(), "newer");
}
