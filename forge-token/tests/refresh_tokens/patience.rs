//! `Retry-After`: heeded, within bounds.

use std::time::Duration;

use forge_core::AuthenticationErrorKind;

use crate::issuer::{Failure, error};
use crate::world::{STORAGES, Storage, World};

fn busy(seconds: u64) -> Failure {
    let busy = error(AuthenticationErrorKind::Status, Some(503));
    Failure::Error(busy.with_retry_after(Duration::from_secs(seconds)))
}

#[tokio::test]
async fn inv23_after_retry_after_the_second_attempt_goes_on_to_the_full_grant() {
    for storage in STORAGES {
        let world = World::with_token(storage, true).await;
        world.issuer.fail([busy(7), busy(7)]);
        world.expire();
        let error = world.manager.get_token().await.expect_err("the server asked for patience");
        assert_eq!(error.cool_down().map(|left| left.as_secs()), Some(7), "{storage:?}");
        world.clock.advance(Duration::from_secs(6));
        world.manager.get_token().await.expect_err("not yet");
        assert_eq!((world.issuer.fetches(), world.issuer.sent().len()), (1, 1), "{storage:?}");

        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.token().await, "t2", "{storage:?}");
        assert_eq!((world.issuer.fetches(), world.issuer.sent().len()), (2, 2), "{storage:?}");
    }
}

#[tokio::test]
async fn inv08_one_stray_retry_after_silences_nobody_for_an_hour() {
    for storage in STORAGES {
        // In the background, shortly before the token ends.
        let world = World::with_token(storage, true).await;
        world.issuer.fail([busy(3600)]);
        world.enter_the_advisory_window();
        assert_eq!(world.token().await, "t1");
        world.settle().await;
        assert_eq!(world.issuer.sent().len(), 1, "{storage:?}");
        world.clock.advance(Duration::from_secs(299));
        world.manager.get_token().await.expect_err("within five minutes");
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.token().await, "t2", "{storage:?}");
    }
}

#[tokio::test]
async fn the_longest_retry_after_is_a_setting() {
    let limit = Duration::from_secs(20);
    let world = World::build(Storage::Memory, true, |builder| builder.max_retry_after(limit)).await;
    world.issuer.fail([busy(3600)]);
    world.expire();
    let error = world.manager.get_token().await.expect_err("the server asked for patience");
    assert_eq!(error.cool_down(), Some(limit));
}

#[tokio::test]
async fn inv23_a_back_off_in_the_background_ends_with_the_token_at_hand() {
    for storage in STORAGES {
        let world = World::with_token(storage, true).await;
        let transient = || Failure::Error(error(AuthenticationErrorKind::Status, Some(503)));
        world.issuer.fail((0..20).map(|_| transient()));
        world.enter_the_advisory_window();
        while world.manager.cached().is_some() {
            world.token().await;
            world.settle().await;
            world.clock.advance(Duration::from_millis(500));
        }
        assert!(world.issuer.sent().len() > 3, "{storage:?}");
        assert_eq!(world.token().await, "t2", "{storage:?}: no cool-down keeps callers from the full grant");
    }
}
