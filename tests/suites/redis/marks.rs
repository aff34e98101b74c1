//! A refresh token that another process may have sent (invariant 5).

use std::time::Duration;

use chrono::Utc;
use forge_tests::StatusCode;
use requestforge::redis::cmd;
use requestforge::{TokenData, TokenManager, TokenStorage};

use crate::world::World;

/// A world whose storage has an expired token. Its refresh token bears the mark of another process.
async fn contested() -> World {
    let world = World::start().await;
    world.issuer.set_refresh_tokens(true);
    let fetched = TokenManager::new(world.provider()).get_token().await.expect("a token");
    let refresh_token = fetched.token().refresh_token().expect("a refresh token");
    let expired = TokenData::new("expired").with_refresh_token(refresh_token);
    let expired = expired.with_expires_at(Utc::now() - Duration::from_secs(1));
    world.storage().set("crm", &expired).await.expect("an answer");
    let mut mark = cmd("HSET");
    mark.arg("{token:crm}:meta").arg("spent").arg(&expired.id().as_bytes()[..]).arg("by").arg("somebody");
    world.run::<()>(&mark).await;
    world
}

fn calls(world: &World) -> (usize, usize) {
    let calls = |grant| world.issuer.calls_by_grant(grant);
    // The first full grant belongs to the expired token.
    (calls("refresh_token"), calls("client_credentials") - 1)
}

#[tokio::test]
async fn inv05_without_a_mark_a_token_is_refreshed() {
    let world = contested().await;
    world.run::<()>(cmd("HDEL").arg("{token:crm}:meta").arg("spent").arg("by")).await;
    world.manager("crm", world.storage()).get_token().await.expect("a token");
    assert_eq!(calls(&world), (1, 0));
}

#[tokio::test]
async fn inv05_the_mark_of_another_token_is_no_obstacle() {
    let world = contested().await;
    let mut mark = cmd("HSET");
    mark.arg("{token:crm}:meta").arg("spent").arg(&TokenData::new("another").id().as_bytes()[..]);
    world.run::<()>(&mark).await;
    world.manager("crm", world.storage()).get_token().await.expect("a token");
    assert_eq!(calls(&world), (1, 0));
}

#[tokio::test]
async fn inv05_with_a_foreign_mark_the_full_grant_is_used() {
    let world = contested().await;
    world.manager("crm", world.storage()).get_token().await.expect("a token");
    assert_eq!(calls(&world), (0, 1));
    let others = world.manager("crm", world.storage());
    others.get_token().await.expect("a token");
    assert_eq!(calls(&world), (0, 1), "and shared");
}

#[tokio::test]
async fn inv05_who_opts_in_refreshes_all_the_same() {
    let world = contested().await;
    let manager = world.manager_builder("crm", world.storage()).refresh_when_contested(true);
    manager.build().expect("a manager").get_token().await.expect("a token");
    assert_eq!(calls(&world), (1, 0));
}

#[tokio::test]
async fn inv05_where_the_full_grant_fails_the_error_says_what_was_not_tried() {
    let world = contested().await;
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_REQUEST] {
        world.issuer.set_failing(Some(status));
        let error = world.manager("crm", world.storage()).get_token().await.expect_err("no token");
        assert!(error.is_refresh(), "{error:?}");
        world.run::<()>(cmd("DEL").arg("{token:crm}:cool-down")).await;
    }
    assert_eq!(calls(&world).0, 0);
}

#[tokio::test]
async fn inv05_our_own_mark_is_taken_away_when_the_endpoint_answers_that_it_cannot() {
    let world = contested().await;
    world.run::<()>(cmd("HDEL").arg("{token:crm}:meta").arg("spent").arg("by")).await;
    world.issuer.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    world.manager("crm", world.storage()).get_token().await.expect_err("no token");
    assert_eq!(world.field("{token:crm}:meta", "by").await, None);
    world.issuer.set_failing(None);
    world.run::<()>(cmd("DEL").arg("{token:crm}:cool-down")).await;
    world.manager("crm", world.storage()).get_token().await.expect("a token");
    // The full grant that follows in the same flight fails too, and the provider repeats it once.
    assert_eq!(calls(&world), (2, 2), "it is sent again by somebody else");
}
