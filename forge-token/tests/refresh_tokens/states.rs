//! The table, row by row.

use std::time::Duration;

use forge_core::AuthenticationErrorKind;

use crate::issuer::{Failure, State, answers, error};
use crate::world::{STORAGES, Storage, World, name};

#[tokio::test]
async fn inv23_without_a_valid_token_the_same_call_goes_on_to_the_full_grant() {
    for storage in STORAGES {
        for (state, answer) in answers() {
            let case = format!("{storage:?} {state:?} {answer:?}");
            let world = World::with_token(storage, true).await;
            world.issuer.fail([Failure::Error(answer)]);
            world.expire();
            assert_eq!(world.token().await, "t2", "{case}");
            assert_eq!((world.issuer.fetches(), world.issuer.sent()), (2, vec!["r1".to_owned()]), "{case}");
            // From here on all calls succeed.
            world.expire();
            assert_eq!(world.token().await, "t3", "{case}");
            assert_eq!(world.issuer.sent(), ["r1", "r2"], "{case}");
        }
    }
}

#[tokio::test]
async fn inv23_after_a_rejection_the_same_call_goes_on_to_the_full_grant() {
    for storage in STORAGES {
        for (state, answer) in answers() {
            let case = format!("{storage:?} {state:?} {answer:?}");
            let world = World::with_token(storage, true).await;
            world.issuer.fail([Failure::Error(answer)]);
            let rejected = world.manager.get_token().await.expect("a token");
            let another = world.manager.refresh_rejected(&rejected).await.expect("a renewal");
            assert_eq!(another.map(|token| name(&token)).as_deref(), Some("t2"), "{case}");
        }
    }
}

#[tokio::test]
async fn inv23_a_valid_token_stays_while_the_server_cannot_tell() {
    for storage in STORAGES {
        for (state, answer) in answers() {
            let case = format!("{storage:?} {state:?} {answer:?}");
            let world = World::with_token(storage, true).await;
            world.issuer.fail([Failure::Error(answer)]);
            world.enter_the_advisory_window();
            assert_eq!(world.token().await, "t1", "{case}");
            world.settle().await;
            assert_eq!(world.issuer.sent(), ["r1"], "{case}");
            let stays = matches!(state, State::Unused | State::InDoubt);
            assert_eq!(world.token().await, if stays { "t1" } else { "t2" }, "{case}");
            if !stays {
                continue;
            }
            // The next attempt, also in the background.
            world.clock.advance(Duration::from_secs(15));
            world.token().await;
            world.settle().await;
            let (fetches, sent) = (world.issuer.fetches(), world.issuer.sent().len());
            let expected = if state == State::Unused { (1, 2) } else { (2, 1) };
            assert_eq!((fetches, sent), expected, "{case}");
        }
    }
}

#[tokio::test]
async fn inv23_where_there_is_no_full_grant_nothing_is_given_up_but_what_is_dead() {
    for storage in STORAGES {
        for (state, answer) in answers() {
            let case = format!("{storage:?} {state:?} {answer:?}");
            let world = World::with_token(storage, false).await;
            world.issuer.fail([Failure::Error(answer.clone()), Failure::Error(answer)]);
            world.expire();
            let error = world.manager.get_token().await.expect_err("no token");
            assert!(error.is_refresh(), "{case}: {error:?}");
            assert_eq!(error.needs_login(), state == State::Dead, "{case}: {error:?}");
            assert_eq!(error.to_string().ends_with("log in again"), state == State::Dead, "{case}: {error}");
            assert_eq!(world.issuer.sent(), ["r1"], "{case}");
            // Within the cool-down the manager sends nothing.
            world.manager.get_token().await.expect_err("no token");
            assert_eq!(world.issuer.sent().len(), 1, "{case}");

            world.cool_down();
            let error = world.manager.get_token().await.expect_err("no token");
            let needs_login = matches!(state, State::Dead | State::InDoubt);
            assert_eq!(error.needs_login(), needs_login, "{case}: {error:?}");
            assert_eq!(world.issuer.sent(), ["r1", "r1"], "{case}");

            // The server is well again: after each of these answers the login still works.
            world.cool_down();
            assert_eq!(world.token().await, "t2", "{case}");
            assert_eq!(world.issuer.fetches(), 1, "{case}: there is no full grant");
        }
    }
}

#[tokio::test]
async fn inv25_a_token_in_doubt_is_not_sent_while_a_valid_token_is_at_hand() {
    for storage in STORAGES {
        let world = World::with_token(storage, false).await;
        world.issuer.fail([Failure::Error(error(AuthenticationErrorKind::Timeout, None))]);
        world.enter_the_advisory_window();
        for _ in 0..29 {
            assert_eq!(world.token().await, "t1");
            world.settle().await;
            world.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(world.issuer.sent(), ["r1"], "{storage:?}");
        world.clock.advance(Duration::from_secs(2));
        assert_eq!(world.token().await, "t2", "{storage:?}: now there is no other way");
        assert_eq!(world.issuer.sent(), ["r1", "r1"], "{storage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn inv25_a_refresh_that_hangs_is_sent_once() {
    for storage in STORAGES {
        let limit = Duration::from_secs(3);
        let world = World::build(storage, true, |builder| builder.fetch_timeout(limit)).await;
        world.issuer.fail([Failure::Hang, Failure::Hang, Failure::Hang, Failure::Hang]);
        world.expire();
        // The call ends a little before its flight, which goes on to the full grant.
        assert_eq!(world.token().await, "t2", "{storage:?}");
        assert_eq!((world.issuer.fetches(), world.issuer.sent()), (2, vec!["r1".to_owned()]), "{storage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn inv23_without_a_full_grant_a_foreign_mark_is_taken_over_when_the_call_must_be_over() {
    let limit = Duration::from_secs(3);
    let world = World::build(Storage::Memory, false, |builder| builder.fetch_timeout(limit)).await;
    world.issuer.fail([Failure::Hang]);
    world.expire();
    world.manager.get_token().await.expect_err("it hangs");
    let another = world.another_manager();
    // By the manual clock no time has passed since the mark: the call may still be under way.
    let error = another.get_token().await.expect_err("too early");
    assert!(error.is_transient() && !error.needs_login(), "{error:?}");
    assert_eq!(world.issuer.sent().len(), 1);
    world.clock.advance(error.cool_down().expect("a cool-down"));
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(name(&another.get_token().await.expect("a token")), "t2");
    assert_eq!(world.issuer.sent(), ["r1", "r1"]);
}

#[tokio::test]
async fn inv23_force_refresh_refreshes_where_there_is_no_full_grant() {
    let world = World::with_token(Storage::None, false).await;
    assert_eq!(name(&world.manager.force_refresh().await.expect("a token")), "t2");
    assert_eq!((world.issuer.fetches(), world.issuer.sent()), (1, vec!["r1".to_owned()]));
}
