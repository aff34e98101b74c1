//! How long the manager trusts a cached token, and its stand-in for a storage that does not answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind, TokenData};

use crate::world::{RECHECK_AFTER, TRUSTED_FOR, expired, world};

#[tokio::test]
async fn inv19_a_hit_asks_nobody_until_the_recheck_which_finds_what_nobody_announced() {
    let world = world();
    assert_eq!(world.token().await, "t1");
    let reads = world.reads();
    for _ in 0..100 {
        assert_eq!(world.token().await, "t1");
    }
    world.clock.advance(RECHECK_AFTER / 10 * 9);
    world.token().await;
    world.settle().await;
    assert_eq!(world.reads(), reads);

    world.remote.write(Some(TokenData::new("theirs")));
    world.clock.advance(RECHECK_AFTER);
    assert_eq!(world.token().await, "t1", "nobody waits for the recheck");
    world.settle().await;
    assert_eq!(world.reads(), reads + 1);
    assert_eq!(world.token().await, "theirs");

    world.clock.advance(RECHECK_AFTER * 2);
    world.token().await;
    world.settle().await;
    assert_eq!(
        (world.reads(), world.provider.calls()),
        (reads + 2, (1, 0)),
        "nothing new is no reason to fetch"
    );
}

#[tokio::test]
async fn inv19_what_cannot_be_compared_is_used_for_a_stated_time_only() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.goes_down(true);
    for _ in 0..5 {
        world.clock.advance(TRUSTED_FOR / 6);
        assert_eq!(world.token().await, "shared");
        world.settle().await;
    }
    assert_eq!(world.provider.calls(), (0, 0));
    world.clock.advance(TRUSTED_FOR / 2);
    assert_eq!(world.token().await, "t1");

    // No other process has this token, so none can replace it.
    world.clock.advance(TRUSTED_FOR * 100);
    assert_eq!(world.token().await, "t1");
    assert!(world.manager.cached().is_some());
}

#[tokio::test]
async fn inv07_and_longer_where_nothing_else_can_be_had() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.goes_down(true);
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(down);
    for _ in 0..10 {
        world.clock.advance(TRUSTED_FOR);
        assert_eq!(world.token().await, "shared");
        assert_eq!(world.token().await, "shared", "also in the cool-down");
    }
    assert!((1..=10).contains(&world.provider.calls().0), "{:?}", world.provider.calls());
    *world.provider.fetch_fails.lock().expect("unpoisoned") = None;
    world.clock.advance(TRUSTED_FOR);
    assert!(world.token().await.starts_with('t'));

    // The manager does not trust a token that it knows to be replaced.
    let world = self::world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.goes_down(true);
    world.remote.generations.bump("key");
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(down);
    world.manager.get_token().await.expect_err("no token");
}

#[tokio::test]
async fn inv19_after_a_doubt_the_storage_is_asked_and_what_is_at_hand_stands_in_for_it() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.remote.generations.mark_all_uncertain();
    assert!(world.manager.cached().is_none());
    world.goes_down(true);
    assert_eq!(world.token().await, "shared");
    assert!(world.manager.cached().is_some(), "asked once for each doubt");

    world.goes_down(false);
    world.remote.write(Some(TokenData::new("theirs")));
    world.remote.generations.mark_all_uncertain();
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.provider.calls(), (0, 0));
}

#[tokio::test]
async fn inv19_what_is_known_to_have_changed_does_not_stand_in() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.remote.generations.bump("key");
    world.goes_down(true);
    assert_eq!(world.token().await, "t1");
}

#[tokio::test]
async fn inv18_a_storage_that_is_back_gets_what_was_fetched_without_it() {
    for theirs in [None, Some(expired("old"))] {
        let world = world();
        world.goes_down(true);
        assert_eq!(world.token().await, "t1");
        world.goes_down(false);
        world.remote.write(theirs);
        world.remote.generations.mark_all_uncertain();
        assert_eq!(world.token().await, "t1");
        assert_eq!(world.remote.stored().as_deref(), Some("t1"));
        assert!(world.manager.cached().is_some());
        assert_eq!(world.provider.calls(), (1, 0));
    }
}

#[tokio::test]
async fn inv18_but_not_in_place_of_what_others_have_left_there() {
    let world = world();
    world.goes_down(true);
    assert_eq!(world.token().await, "t1");
    world.goes_down(false);
    world.remote.write(Some(TokenData::new("theirs")));
    world.remote.generations.mark_all_uncertain();
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.remote.stored().as_deref(), Some("theirs"));
}

#[tokio::test]
async fn inv19_what_was_invalidated_while_it_was_fetched_serves_those_who_wait_and_nobody_else() {
    let world = world();
    world.remote.is_invalidated.store(true, Ordering::SeqCst);
    assert_eq!(world.token().await, "t1");
    assert!(world.manager.cached().is_none());
    assert_eq!(world.token().await, "t2");
    assert_eq!(world.remote.stored().as_deref(), Some("t2"));
}

#[tokio::test]
async fn inv19_and_when_it_is_invalidated_it_is_not_put_back() {
    let world = world();
    world.remote.is_silent.store(true, Ordering::SeqCst);
    assert_eq!(world.token().await, "t1");
    world.remote.is_silent.store(false, Ordering::SeqCst);
    world.remote.write(None);
    world.remote.generations.bump("key");
    assert_eq!(world.token().await, "t2");
    assert_eq!(world.remote.stored().as_deref(), Some("t2"));
}

#[tokio::test]
async fn inv11_a_rejected_token_does_not_come_back_with_the_storage() {
    let world = world();
    world.remote.put(&TokenData::new("rejected"));
    let rejected = world.manager.get_token().await.expect("a token");
    rejected.mark_accepted();
    world.goes_down(true);
    let renewed = world.manager.refresh_rejected(&rejected).await.expect("a renewal").expect("a token");
    assert_eq!(renewed.access_token(), "t1");
    world.goes_down(false);
    world.remote.generations.mark_all_uncertain();
    assert_eq!(world.token().await, "t1");
    assert_eq!(world.remote.stored().as_deref(), Some("t1"));
}

#[tokio::test]
async fn inv19_a_recheck_does_not_forget_what_is_known_of_a_token() {
    let world = world();
    let nanos = chrono::Utc::now() + Duration::new(3600, 123_456_789);
    *world.provider.expires_at.lock().expect("unpoisoned") = Some(nanos);
    let token = world.manager.get_token().await.expect("a token");
    let rounded = token.token().clone().with_expires_at(chrono::SubsecRound::trunc_subsecs(nanos, 6));
    world.remote.write(Some(rounded));
    world.remote.generations.mark_all_uncertain();
    let again = world.manager.get_token().await.expect("a token");
    assert!(Arc::ptr_eq(&token, &again));
}

#[tokio::test]
async fn inv11_a_token_that_was_seen_rejected_is_not_adopted_with_the_lease() {
    for is_told in [true, false] {
        let world = world();
        world.remote.is_told.store(is_told, Ordering::SeqCst);
        world.remote.put(&TokenData::new("rejected"));
        let rejected = world.manager.get_token().await.expect("a token");
        world.manager.refresh_rejected(&rejected).await.expect("a renewal").expect("another token");
        // The first read finds no token. When the manager gets the lease, the storage has the old one.
        world.remote.write(None);
        world.remote.generations.mark_all_uncertain();
        *world.remote.left_silently.lock().expect("unpoisoned") = Some(rejected.token().clone());
        assert_ne!(world.token().await, "rejected");
        assert_ne!(world.remote.stored().as_deref(), Some("rejected"));
    }
}

#[tokio::test]
async fn inv25_a_storage_that_has_lost_a_renewal_does_not_bring_back_the_refresh_token_sent_for_it() {
    // After an outage another process may have sent the newer refresh token as well. Then the manager uses
    // the full grant.
    for (has_doubt, token, sent) in [(false, "r2", Some("r1")), (true, "t1", None)] {
        let world = world();
        world.remote.put(&TokenData::new("old").with_refresh_token("refresh"));
        let old = world.manager.get_token().await.expect("a token");
        let renewed = world.manager.refresh_rejected(&old).await.expect("a renewal").expect("a token");
        let refreshed = || world.provider.refreshed.lock().expect("unpoisoned").take();
        assert_eq!(refreshed().as_deref(), Some("old"));
        renewed.mark_accepted();
        world.remote.write(Some(old.token().clone()));
        if has_doubt {
            world.remote.generations.mark_all_uncertain();
        }
        let another = world.manager.refresh_rejected(&renewed).await.expect("a renewal").expect("a token");
        assert_eq!((another.access_token(), refreshed().as_deref()), (token, sent), "doubt: {has_doubt}");
    }
}
