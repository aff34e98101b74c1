//! Sharing comes back by itself within two seconds after Redis.

use std::time::Duration;

use forge_tests::undisturbed;
use requestforge::{TokenData, TokenStorage};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::world::{KEY, Outage, World, shared, stored, until};

const SOON: Duration = Duration::from_secs(2);

/// Each kind of outage, and one so short that the connection outlives it.
const OUTAGES: [(Outage, Duration); 7] = [
    (Outage::Refused, Duration::from_millis(1_500)),
    (Outage::Restarted, Duration::from_millis(50)),
    (Outage::Paused, Duration::from_millis(2_500)),
    (Outage::Paused, Duration::from_millis(300)),
    (Outage::BlackHoled, Duration::from_millis(2_500)),
    (Outage::Held, Duration::from_millis(2_500)),
    (Outage::Slow(150), Duration::from_millis(1_500)),
];

/// All outages at once: each has a world of its own, and each takes real time.
async fn each<F: Future<Output = ()> + Send + 'static>(
    is_meant: impl Fn(Outage) -> bool,
    check: impl Fn(Outage, Duration) -> F + Copy + Send + 'static,
) {
    let mut checks = JoinSet::new();
    for (outage, lasts) in OUTAGES.into_iter().filter(|(outage, _)| is_meant(*outage)) {
        checks.spawn(undisturbed(move || check(outage, lasts)));
    }
    while let Some(checked) = checks.join_next().await {
        checked.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_what_a_process_fetched_alone_is_shared_soon_after() {
    each(|_| true, what_a_process_fetched_alone_is_shared_soon_after).await;
}

async fn what_a_process_fetched_alone_is_shared_soon_after(outage: Outage, lasts: Duration) {
    let mut world = World::start().await;
    let manager = world.manager(world.facing(outage).build().expect("a storage"));
    let before = shared(&manager, &world.near()).await;

    assert_eq!(world.issuer.token_calls(), 1);
    outage.begin(&mut world).await;
    let alone = manager.force_refresh().await.expect("a token without Redis");
    sleep(lasts).await;
    outage.end(&mut world).await;

    let near = world.near();
    let took = until(SOON, || async {
        let at_hand = manager.get_token().await.expect("a token");
        assert_ne!(at_hand.id(), before.id(), "{outage:?}: an older token came back");
        assert_eq!(at_hand.id(), alone.id());
        stored(&near).await.map(|token| token.id()) == Some(alone.id())
    })
    .await;
    println!("{outage:?} for {lasts:?}: offered {took:?} after its end");
    assert!(took.is_some(), "{outage:?} for {lasts:?}: others don't find the token");
    assert_eq!(world.issuer.token_calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_process_that_was_started_in_an_outage_shares_soon_after() {
    each(|outage| outage != Outage::Restarted, a_process_that_was_started_in_an_outage_shares_soon_after)
        .await;
}

async fn a_process_that_was_started_in_an_outage_shares_soon_after(outage: Outage, lasts: Duration) {
    let mut world = World::start().await;
    outage.begin(&mut world).await;
    let manager = world.manager(world.facing(outage).build().expect("a storage"));
    let alone = manager.get_token().await.expect("a token without Redis");
    sleep(lasts).await;
    outage.end(&mut world).await;

    let near = world.near();
    let took = until(SOON, || async {
        assert_eq!(manager.get_token().await.expect("a token").id(), alone.id());
        stored(&near).await.map(|token| token.id()) == Some(alone.id())
    })
    .await;
    println!("{outage:?} for {lasts:?} from the start: offered {took:?} after its end");
    assert!(took.is_some(), "{outage:?} for {lasts:?}: others don't find the token");
    assert_eq!(world.issuer.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_what_others_did_meanwhile_is_seen_soon_after() {
    // Only the network on the way to Redis has these outages.
    each(
        |outage| matches!(outage, Outage::BlackHoled | Outage::Held | Outage::Slow(_)),
        what_others_did_meanwhile_is_seen_soon_after,
    )
    .await;
}

async fn what_others_did_meanwhile_is_seen_soon_after(outage: Outage, lasts: Duration) {
    let mut world = World::start().await;
    // A client notices a silently dead connection when it uses it.
    let far = world.far().recheck_after(Duration::from_millis(300)).build().expect("a storage");
    let manager = world.manager(far);
    let before = shared(&manager, &world.near()).await;
    outage.begin(&mut world).await;
    let is_another = || async { manager.get_token().await.expect("a token").id() != before.id() };
    assert_eq!(until(lasts / 2, is_another).await, None);
    let other = world.manager(world.near());
    other.invalidate_token().await.expect("Redis is there");
    let new = other.get_token().await.expect("a token");
    sleep(lasts / 2).await;
    assert_ne!(new.id(), before.id());
    outage.end(&mut world).await;

    let took = until(SOON, || async { manager.get_token().await.expect("a token").id() == new.id() }).await;
    println!("{outage:?} for {lasts:?}: the other's token is used {took:?} after its end");
    assert!(took.is_some(), "{outage:?}: the old token is still used");
    // A process that hears of the change and cannot read it fetches for itself.
    let heard = usize::from(matches!(outage, Outage::Slow(_)));
    assert!(world.issuer.token_calls() <= 2 + heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv11_a_token_that_was_rejected_in_an_outage_does_not_come_back_with_redis() {
    each(Outage::keeps_data, a_token_that_was_rejected_in_an_outage_does_not_come_back_with_redis).await;
}

async fn a_token_that_was_rejected_in_an_outage_does_not_come_back_with_redis(
    outage: Outage,
    lasts: Duration,
) {
    let mut world = World::start().await;
    let manager = world.manager(world.facing(outage).build().expect("a storage"));
    let before = shared(&manager, &world.near()).await;
    outage.begin(&mut world).await;
    world.issuer.revoke_all();
    let renewed = manager.refresh_rejected(&before).await.expect("a token");
    let renewed = renewed.expect("another token than the rejected one");
    sleep(lasts).await;
    outage.end(&mut world).await;

    let near = world.near();
    let took = until(SOON, || async {
        let at_hand = manager.get_token().await.expect("a token");
        assert_eq!(at_hand.id(), renewed.id(), "{outage:?}: the rejected token came back");
        stored(&near).await.map(|token| token.id()) == Some(renewed.id())
    })
    .await;
    println!("{outage:?}: the rejected token is gone {took:?} after its end");
    assert!(took.is_some(), "{outage:?} for {lasts:?}: the rejected token is still stored");
    assert_eq!(world.issuer.token_calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv11_a_token_that_was_invalidated_in_an_outage_does_not_come_back_with_redis() {
    undisturbed(a_token_that_was_invalidated_in_an_outage_does_not_come_back_with_redis).await;
}

async fn a_token_that_was_invalidated_in_an_outage_does_not_come_back_with_redis() {
    let outage = Outage::Held;
    let mut world = World::start().await;
    let manager = world.manager(world.far().build().expect("a storage"));
    let before = shared(&manager, &world.near()).await;
    world.proxy.swallow();
    manager.invalidate_token().await.expect_err("Redis is not told");
    let new = manager.get_token().await.expect("a token");
    assert_ne!(new.id(), before.id());
    sleep(Duration::from_secs(1)).await;
    outage.end(&mut world).await;

    let near = world.near();
    let took = until(SOON, || async {
        let at_hand = manager.get_token().await.expect("a token");
        assert_eq!(at_hand.id(), new.id(), "the invalidated token came back");
        stored(&near).await.map(|token| token.id()) == Some(new.id())
    })
    .await;
    assert!(took.is_some(), "the invalidated token is still stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_what_a_process_fetched_alone_replaces_nothing_newer() {
    undisturbed(what_a_process_fetched_alone_replaces_nothing_newer).await;
}

async fn what_a_process_fetched_alone_replaces_nothing_newer() {
    let world = World::start().await;
    let manager = world.manager(world.far().build().expect("a storage"));
    shared(&manager, &world.near()).await;
    world.proxy.hold();
    manager.force_refresh().await.expect("a token without Redis");
    let newer = TokenData::new("of somebody else").with_expires_in(Duration::from_secs(3_600));
    let near = world.near();
    near.set(KEY, &newer).await.expect("Redis is there");
    world.proxy.pass();
    let took = until(SOON, || async { manager.get_token().await.expect("a token").id() == newer.id() }).await;
    assert!(took.is_some(), "what others have is not adopted");
    assert_eq!(stored(&near).await.map(|token| token.id()), Some(newer.id()));
}
