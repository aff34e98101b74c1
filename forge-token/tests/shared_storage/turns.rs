//! Waiting for the lease, storing behind its fence, and failing together.

use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind, CoolDown, LeaseOutcome, TokenData};
use http::StatusCode;

use crate::world::{expired, world};

#[tokio::test]
async fn inv04_a_token_that_is_left_while_one_waits_for_the_lease_is_taken() {
    let world = world();
    *world.remote.left_meanwhile.lock().expect("unpoisoned") = Some(TokenData::new("theirs"));
    *world.remote.acquired.lock().expect("unpoisoned") = [LeaseOutcome::Changed].into();
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.provider.calls(), (0, 0));

    // The manager does not stop waiting after a change that leaves no token.
    let world = self::world();
    *world.remote.acquired.lock().expect("unpoisoned") =
        [LeaseOutcome::Changed, LeaseOutcome::Changed].into();
    assert_eq!(world.token().await, "t1");
}

#[tokio::test]
async fn inv04_with_the_lease_the_storage_is_read_again() {
    let world = world();
    *world.remote.left_meanwhile.lock().expect("unpoisoned") = Some(TokenData::new("theirs"));
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.provider.calls(), (0, 0));
    assert_eq!(world.remote.released.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn inv04_what_the_lease_has_seen_is_not_read_again() {
    let world = world();
    world.remote.is_told.store(true, Ordering::SeqCst);
    assert_eq!(world.token().await, "t1");
    assert_eq!(world.remote.reads.load(Ordering::SeqCst), 1, "before the lease");

    // The manager fetches nothing either if the lease reports a token.
    let world = self::world();
    world.remote.is_told.store(true, Ordering::SeqCst);
    *world.remote.left_silently.lock().expect("unpoisoned") = Some(TokenData::new("theirs"));
    assert_eq!(world.token().await, "theirs");
    assert_eq!((world.provider.calls(), world.remote.reads.load(Ordering::SeqCst)), ((0, 0), 1));
}

#[tokio::test]
async fn inv04_what_has_changed_since_the_lease_has_seen_it_is_read_again() {
    let world = world();
    world.remote.is_told.store(true, Ordering::SeqCst);
    *world.remote.left_right_after.lock().expect("unpoisoned") = Some(TokenData::new("theirs"));
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.provider.calls(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn inv04_a_lease_that_is_not_given_back_in_time_is_done_without() {
    let world = world();
    world.remote.put(&expired("old"));
    world.remote.is_kept.store(true, Ordering::SeqCst);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.token().await, "t1", "the full grant: somebody else may send the refresh token");
    assert_eq!(world.provider.calls(), (1, 0));
    // The manager waits for the lease for three quarters of the fetch time-out. The rest is for the fetch.
    assert_eq!(begun.elapsed().as_millis(), 22_500);
    assert_eq!(world.remote.stored().as_deref(), Some("t1"), "nobody has stored anything meanwhile");
}

#[tokio::test(start_paused = true)]
async fn inv04_and_what_its_holder_stores_after_all_is_not_replaced() {
    let world = world();
    world.remote.is_kept.store(true, Ordering::SeqCst);
    *world.remote.overtaken_by.lock().expect("unpoisoned") = Some(TokenData::new("theirs"));
    assert_eq!(world.token().await, "theirs");
    assert_eq!((world.provider.calls(), world.remote.stored().as_deref()), ((1, 0), Some("theirs")));
}

#[tokio::test]
async fn inv04_who_was_overtaken_adopts_the_newer_token() {
    let world = world();
    *world.remote.overtaken_by.lock().expect("unpoisoned") = Some(TokenData::new("newer"));
    assert_eq!(world.token().await, "newer");
    assert_eq!(world.remote.stored().as_deref(), Some("newer"));
    assert!(world.manager.cached().is_some());
}

#[tokio::test]
async fn inv08_all_back_off_from_what_one_has_met_with() {
    let world = world();
    let theirs = CoolDown::new(Duration::from_secs(7), 3).with_status(503);
    *world.remote.acquired.lock().expect("unpoisoned") = [LeaseOutcome::CoolingDown(theirs)].into();
    for _ in 0..10 {
        let error = world.manager.get_token().await.expect_err("a cool-down");
        assert!(error.is_transient() && error.status() == Some(StatusCode::SERVICE_UNAVAILABLE), "{error:?}");
        assert_eq!(error.service_name(), "numbered");
    }
    assert_eq!(world.provider.calls(), (0, 0));
    world.clock.advance(Duration::from_secs(7));

    // The manager adds its failures to those of the other processes. A failure without a response may have
    // its cause in this process, so it counts for a second at most.
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    let busy = AuthenticationError::new("", AuthenticationErrorKind::Status)
        .with_status(StatusCode::SERVICE_UNAVAILABLE);
    for (failure, in_a_row, at_least, at_most) in [(busy, 4, 1_000, 2_000), (down, 5, 1_000, 1_000)] {
        *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(failure);
        world.manager.get_token().await.expect_err("down");
        let failed = world.remote.failed.lock().expect("unpoisoned").pop().expect("a cool-down");
        assert_eq!(failed.failures(), in_a_row);
        assert!((at_least..=at_most).contains(&failed.left().as_millis()), "{failed:?}");
        world.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn inv08_others_heed_a_cool_down_that_was_adopted_too() {
    let world = world();
    let busy = AuthenticationError::new("", AuthenticationErrorKind::Status)
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
        .with_cool_down(Duration::from_secs(7));
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(busy);
    world.manager.get_token().await.expect_err("down");
    let failed = world.remote.failed.lock().expect("unpoisoned").pop().expect("a cool-down");
    // A storage heeds a cool-down only if its failure count is above zero.
    assert_eq!((failed.failures(), failed.left()), (1, Duration::from_secs(7)));
}

#[tokio::test]
async fn inv08_a_cool_down_is_capped_whatever_the_storage_says() {
    let world = world();
    let theirs = CoolDown::new(Duration::MAX, 3);
    *world.remote.acquired.lock().expect("unpoisoned") = [LeaseOutcome::CoolingDown(theirs)].into();
    world.manager.get_token().await.expect_err("a cool-down");
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.token().await, "t1");
}

#[tokio::test]
async fn inv08_a_token_from_somebody_else_ends_what_one_has_met_with() {
    let world = world();
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(down);
    for _ in 0..8 {
        world.manager.get_token().await.expect_err("down");
        world.clock.advance(Duration::from_secs(60));
    }
    world.remote.put(&TokenData::new("theirs"));
    assert_eq!(world.token().await, "theirs");
    assert!(world.manager.status().last_error.is_none());
    world.remote.write(None);
    world.remote.generations.bump("key");
    world.manager.get_token().await.expect_err("down");
    assert!(world.manager.status().cool_down.is_some_and(|left| left <= Duration::from_secs(1)));
}

#[tokio::test]
async fn inv08_who_asks_for_a_fetch_expressly_gets_one() {
    let world = world();
    let theirs = CoolDown::new(Duration::from_secs(7), 3);
    *world.remote.acquired.lock().expect("unpoisoned") = [LeaseOutcome::CoolingDown(theirs)].into();
    assert_eq!(world.manager.force_refresh().await.expect("a token").access_token(), "t1");
}

#[tokio::test]
async fn inv04_what_only_concerns_one_is_not_shared() {
    use AuthenticationErrorKind::{Configuration, InvalidResponse, Refused};

    for kind in [Refused("invalid_client".into()), Configuration, InvalidResponse] {
        let world = world();
        *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(AuthenticationError::new("", kind));
        world.manager.get_token().await.expect_err("a failure");
        assert!(world.remote.failed.lock().expect("unpoisoned").is_empty());
        assert_eq!(world.remote.released.load(Ordering::SeqCst), 1, "the lease is given back at once");
    }
}

#[tokio::test]
async fn inv03_a_flight_that_was_detached_holds_nobody_up() {
    let world = world();
    world.provider.hangs.store(true, Ordering::SeqCst);
    let manager = world.manager.clone();
    let waiting = tokio::spawn(async move { manager.get_token().await });
    while world.provider.calls() != (1, 0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.remote.released.load(Ordering::SeqCst), 0);
    world.manager.invalidate_token().await.expect("told");
    world.settle().await;
    assert_eq!(world.remote.released.load(Ordering::SeqCst), 1, "the lease is given back");
    world.provider.hangs.store(false, Ordering::SeqCst);
    assert_eq!(world.token().await, "t2");
    assert!(!waiting.is_finished());
    waiting.abort();
}
