//! Refresh tokens that another process may have sent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind, MarkTakeover, RefreshMark, TokenData};
use http::StatusCode;

use crate::world::{FOREIGN, expired, world, world_with};

#[tokio::test]
async fn inv05_a_contested_refresh_token_is_not_sent() {
    for (spending, has_leases) in
        [(FOREIGN, true), (RefreshMark::LeaseLost, true), (RefreshMark::Ours, false)]
    {
        let world = world();
        world.remote.put(&expired("old"));
        *world.remote.spending.lock().expect("unpoisoned") = spending;
        world.remote.has_leases.store(has_leases, Ordering::SeqCst);
        assert_eq!(world.token().await, "t1", "the full grant");
        assert_eq!(world.provider.calls(), (1, 0));
    }
}

#[tokio::test]
async fn inv05_where_the_full_grant_fails_too_the_error_says_that_a_refresh_failed() {
    let world = world();
    world.remote.put(&expired("old"));
    *world.remote.spending.lock().expect("unpoisoned") = FOREIGN;
    let none = AuthenticationError::new("", AuthenticationErrorKind::Other);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(none);
    assert!(world.manager.get_token().await.expect_err("no grant").is_refresh());
}

#[tokio::test]
async fn inv05_unless_the_user_wants_it() {
    for has_leases in [true, false] {
        let world = world_with(|builder| builder.refresh_when_contested(true));
        world.remote.put(&expired("old"));
        *world.remote.spending.lock().expect("unpoisoned") = FOREIGN;
        world.remote.has_leases.store(has_leases, Ordering::SeqCst);
        assert_eq!(world.token().await, "r1");
    }
}

#[tokio::test]
async fn inv05_a_mark_is_taken_away_when_the_server_has_not_used_up_the_token() {
    use AuthenticationErrorKind::{Configuration, Connect, InvalidResponse, Refused, Status, Timeout};

    let error = |kind| AuthenticationError::new("", kind);
    for (failure, unspent) in [
        (error(Status).with_status(StatusCode::SERVICE_UNAVAILABLE), 1),
        (error(Refused("invalid_client".into())).with_status(StatusCode::UNAUTHORIZED), 1),
        (error(Connect).with_nothing_sent(), 1),
        (error(Configuration), 1),
        (error(Refused("invalid_grant".into())).with_status(StatusCode::BAD_REQUEST), 0),
        (error(InvalidResponse).with_status(StatusCode::OK), 0),
        (error(Status).with_status(StatusCode::BAD_GATEWAY), 0),
        (error(Status).with_status(StatusCode::INTERNAL_SERVER_ERROR), 0),
        (error(Connect), 0),
        (error(Timeout), 0),
    ] {
        let world = world();
        world.remote.put(&expired("old"));
        let told = failure.clone();
        *world.provider.refresh_fails.lock().expect("unpoisoned") = Some(failure);
        let _ = world.manager.get_token().await;
        assert_eq!(world.remote.unspent.load(Ordering::SeqCst), unspent, "{told:?}");
    }
}

#[tokio::test]
async fn inv05_a_token_whose_storing_was_not_answered_may_be_anybodys() {
    let world = world();
    world.remote.write(Some(TokenData::new("rejected")));
    let rejected = world.manager.get_token().await.expect("a token");
    rejected.mark_accepted();
    // The storage stores the token but does not confirm it. Another process finds it and sends its refresh
    // token.
    world.remote.is_silent.store(true, Ordering::SeqCst);
    let renewed = world.manager.refresh_rejected(&rejected).await.expect("a renewal").expect("a token");
    assert_eq!((renewed.access_token(), world.remote.stored().as_deref()), ("t1", Some("t1")));
    world.remote.is_silent.store(false, Ordering::SeqCst);
    *world.remote.spending.lock().expect("unpoisoned") = FOREIGN;
    renewed.mark_accepted();
    let another = world.manager.refresh_rejected(&renewed).await.expect("a renewal").expect("a token");
    assert_eq!(another.access_token(), "t2", "the full grant");
    assert_eq!(world.provider.calls(), (2, 0));
}

#[tokio::test]
async fn inv05_what_nobody_else_has_needs_no_mark() {
    let world = world();
    world.goes_down(true);
    let token = world.manager.get_token().await.expect("a token");
    token.mark_accepted();
    let renewed = world.manager.refresh_rejected(&token).await.expect("a renewal").expect("another token");
    assert_eq!(renewed.access_token(), "r1");
    assert_eq!(world.provider.calls(), (1, 1));
}

#[tokio::test]
async fn inv25_after_an_outage_a_refresh_token_of_which_the_storage_has_no_record_is_not_sent() {
    for has_doubt in [true, false] {
        let world = world();
        world.remote.put(&TokenData::new("shared").with_refresh_token("refresh"));
        let token = world.manager.get_token().await.expect("a token");
        token.mark_accepted();
        // Meanwhile another process may have refreshed, and its record is lost as well. So no record tells
        // of that refresh.
        world.remote.write(None);
        if has_doubt {
            world.remote.generations.mark_all_uncertain();
        }
        let renewed = world.manager.refresh_rejected(&token).await.expect("a renewal").expect("a token");
        let expected = if has_doubt { ("t1", (1, 0)) } else { ("r1", (0, 1)) };
        assert_eq!((renewed.access_token(), world.provider.calls()), expected, "doubt: {has_doubt}");
    }
}

#[tokio::test]
async fn inv23_without_a_full_grant_a_foreign_mark_is_heeded_while_the_call_may_be_under_way() {
    let world = world_with(|builder| builder.fetch_timeout(Duration::from_secs(10)));
    world.provider.has_no_full_grant.store(true, Ordering::SeqCst);
    world.remote.put(&expired("old"));
    *world.remote.spending.lock().expect("unpoisoned") =
        RefreshMark::Foreign { age: Some(Duration::from_secs(4)) };
    let error = world.manager.get_token().await.expect_err("too early");
    assert!(error.is_transient() && !error.needs_login(), "{error:?}");
    assert_eq!((world.provider.calls(), error.cool_down()), ((0, 0), Some(Duration::from_secs(6))));

    world.clock.advance(Duration::from_secs(6));
    *world.remote.spending.lock().expect("unpoisoned") =
        RefreshMark::Foreign { age: Some(Duration::from_secs(10)) };
    assert_eq!(world.token().await, "r1");
    let takeovers = world.remote.takeovers.lock().expect("unpoisoned").clone();
    assert_eq!(takeovers, [MarkTakeover::Never, MarkTakeover::Never, MarkTakeover::Always]);
}

#[tokio::test]
async fn inv25_without_a_lease_the_only_refresh_token_is_not_sent_and_not_given_up() {
    let world = world();
    world.provider.has_no_full_grant.store(true, Ordering::SeqCst);
    world.remote.put(&expired("old"));
    world.remote.has_leases.store(false, Ordering::SeqCst);
    let error = world.manager.get_token().await.expect_err("no lease");
    assert!(!error.needs_login() && error.is_refresh(), "{error:?}");
    assert_eq!(world.provider.calls(), (0, 0));
    world.remote.has_leases.store(true, Ordering::SeqCst);
    world.clock.advance(error.cool_down().expect("a cool-down"));
    assert_eq!(world.token().await, "r1");
}

#[tokio::test]
async fn inv25_a_read_that_fails_after_an_outage_does_not_take_the_doubt_away() {
    let world = world();
    world.remote.put(&TokenData::new("shared").with_refresh_token("refresh"));
    let token = world.manager.get_token().await.expect("a token");
    token.mark_accepted();
    world.remote.generations.mark_all_uncertain();
    world.goes_down(true);
    assert_eq!(world.token().await, "shared");
    world.goes_down(false);
    world.remote.write(None);
    let renewed = world.manager.refresh_rejected(&token).await.expect("a renewal").expect("a token");
    assert_eq!((renewed.access_token(), world.provider.calls()), ("t1", (1, 0)));
}
