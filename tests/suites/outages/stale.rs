//! Which tokens a manager serves without a comparison, and for how long.

use std::time::{Duration, Instant};

use forge_tests::{StatusCode, undisturbed};
use requestforge::RedisTokenStorage;
use requestforge::redis::cmd;
use tokio::time::sleep;

use crate::connection::connection;
use crate::world::{KEY, Outage, World, shared, stored, until};

/// The slack for a busy machine.
const SLACK: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_process_that_is_cut_off_trusts_its_token_for_so_long_and_no_longer() {
    undisturbed(a_process_that_is_cut_off_trusts_its_token_for_so_long_and_no_longer).await;
}

async fn a_process_that_is_cut_off_trusts_its_token_for_so_long_and_no_longer() {
    let trusted_for = Duration::from_millis(1_500);
    for outage in [Outage::BlackHoled, Outage::Held, Outage::AnswersLost] {
        let mut world = World::start().await;
        let storage = world.far().recheck_after(Duration::from_millis(300)).trusted_for(trusted_for);
        let manager = world.manager(storage.build().expect("a storage"));
        let before = shared(&manager, &world.near()).await;
        outage.begin(&mut world).await;
        let begun = Instant::now();
        let other = world.manager(world.near());
        other.invalidate_token().await.expect("Redis is there");

        let limit = trusted_for.mul_f64(1.25) + SLACK;
        let until_noticed =
            until(limit, || async { manager.get_token().await.expect("a token").id() != before.id() }).await;
        println!("{outage:?}: an invalidation was noticed after {until_noticed:?}");
        assert!(until_noticed.is_some(), "{outage:?}: {:?} later it is still served", begun.elapsed());
        for _ in 0..50 {
            manager.get_token().await.expect("a token");
        }
        assert_eq!(world.issuer.token_calls(), 2, "{outage:?}: one fetch, and that is kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_within_that_time_a_process_that_is_cut_off_fetches_nothing() {
    undisturbed(within_that_time_a_process_that_is_cut_off_fetches_nothing).await;
}

async fn within_that_time_a_process_that_is_cut_off_fetches_nothing() {
    let mut world = World::start().await;
    let storage = world.far().recheck_after(Duration::from_millis(100)).trusted_for(Duration::from_secs(20));
    let manager = world.manager(storage.build().expect("a storage"));
    shared(&manager, &world.near()).await;
    Outage::BlackHoled.begin(&mut world).await;
    for _ in 0..150 {
        manager.get_token().await.expect("a token");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.issuer.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_announcements_that_are_lost_without_a_sign_are_made_up_for() {
    undisturbed(announcements_that_are_lost_without_a_sign_are_made_up_for).await;
}

async fn announcements_that_are_lost_without_a_sign_are_made_up_for() {
    let recheck_after = Duration::from_millis(500);
    let mut world = World::start().await;
    let storage = world.far().recheck_after(recheck_after).build().expect("a storage");
    let manager = world.manager(storage);
    let before = shared(&manager, &world.near()).await;
    Outage::AnswersLost.begin(&mut world).await;
    let other = world.manager(world.near());
    other.invalidate_token().await.expect("Redis is there");
    let new = other.get_token().await.expect("a token");
    // The connection that has lost something stays silent. A new connection would work.
    Outage::AnswersLost.end(&mut world).await;
    assert_eq!(manager.get_token().await.expect("a token").id(), before.id(), "there was no sign");

    // The manager starts a comparison and gets no answer. Within a second it finds the connection dead,
    // another connection takes its place, and not all managers catch up at once.
    let limit = recheck_after.mul_f64(1.25) + Duration::from_millis(1_650) + SLACK;
    let took = until(limit, || async { manager.get_token().await.expect("a token").id() == new.id() }).await;
    println!("announcements lost: made up for after {took:?}");
    assert!(took.is_some());
    assert_eq!(world.issuer.token_calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_writers_who_announce_nothing_are_noticed() {
    undisturbed(writers_who_announce_nothing_are_noticed).await;
}

async fn writers_who_announce_nothing_are_noticed() {
    let recheck_after = Duration::from_millis(400);
    let limit = recheck_after.mul_f64(1.25) + SLACK;
    let world = World::start().await;
    let storage = world.far().recheck_after(recheck_after).build().expect("a storage");
    let manager = world.manager(storage);
    shared(&manager, &world.near()).await;
    let mut connection = connection(&world.redis.url()).await;

    let record = r#"{"access_token":"of a writer who says nothing"}"#;
    let key = format!("token:{KEY}");
    cmd("SET").arg(&key).arg(record).exec_async(&mut connection).await.expect("an answer");
    let is_adopted = || async {
        let token = manager.get_token().await.expect("a token");
        token.token().access_token() == "of a writer who says nothing"
    };
    let took = until(limit, is_adopted).await;
    println!("a raw SET: seen after {took:?}");
    assert!(took.is_some());
    assert_eq!(world.issuer.token_calls(), 1);

    cmd("DEL").arg(&key).exec_async(&mut connection).await.expect("an answer");
    let took = until(limit, || async { !is_adopted().await }).await;
    println!("a raw DEL: seen after {took:?}");
    assert!(took.is_some());
    assert_eq!(world.issuer.token_calls(), 2);
    let near = world.near();
    assert_eq!(stored(&near).await.map(|token| token.id()), manager.cached().map(|token| token.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_valid_token_is_served_though_redis_and_the_issuer_are_both_down() {
    undisturbed(a_valid_token_is_served_though_redis_and_the_issuer_are_both_down).await;
}

async fn a_valid_token_is_served_though_redis_and_the_issuer_are_both_down() {
    let mut world = World::start().await;
    let storage = world.near();
    let manager = world.manager(storage);
    let before = shared(&manager, &world.near()).await;
    Outage::Refused.begin(&mut world).await;
    world.issuer.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    for _ in 0..100 {
        assert_eq!(manager.get_token().await.expect("a token").id(), before.id());
        sleep(Duration::from_millis(10)).await;
    }

    // A manager trusts a token that it fetched alone until the token expires.
    world.issuer.set_failing(None);
    let storage = RedisTokenStorage::builder(world.redis.url());
    let storage = storage.recheck_after(Duration::from_millis(100)).trusted_for(Duration::from_millis(200));
    let lonely = world.manager(storage.build().expect("a storage"));
    let alone = lonely.get_token().await.expect("a token");
    world.issuer.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    for _ in 0..100 {
        assert_eq!(lonely.get_token().await.expect("a token").id(), alone.id());
        sleep(Duration::from_millis(10)).await;
    }
}
