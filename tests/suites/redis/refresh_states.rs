//! The result of each call with a refresh token, over Redis (invariants 23 and 25). The tests
//! `refresh_tokens` of forge-token run the same rows without a storage and in memory.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use requestforge::redis::cmd;
use requestforge::token::SystemClock;
use requestforge::{RedisTokenStorage, TokenData, TokenManager, TokenStorage};

use crate::issuer::{Failure, Issuer, State, answers};
use crate::world::World;

/// An issuer, and a record in Redis whose access token has expired and whose refresh token is `r0`.
async fn expired(world: &World, key: &str, has_full_grant: bool) -> Arc<Issuer> {
    let expired = TokenData::new("expired").with_refresh_token("r0");
    let expired = expired.with_expires_at(Utc::now() - Duration::from_secs(1));
    world.storage().set(key, &expired).await.expect("an answer");
    Issuer::new(Arc::new(SystemClock), has_full_grant)
}

/// The manager of a process of its own. Its server knows nothing of the other processes.
fn process(issuer: &Arc<Issuer>, storage: RedisTokenStorage, key: &str) -> TokenManager {
    let builder = TokenManager::builder(Arc::clone(issuer)).storage(storage).cache_key(key);
    builder.fetch_timeout(Duration::from_secs(10)).build().expect("a manager")
}

async fn end_cool_down(world: &World, key: &str) {
    world.run::<()>(cmd("DEL").arg(format!("{{token:{key}}}:cool-down"))).await;
}

/// Sets the mark back, so that the call of the last sender ended long ago.
async fn age_the_mark(world: &World, key: &str) {
    let made_at = Utc::now() - Duration::from_secs(60);
    let made_at = made_at.timestamp_millis().to_string();
    let meta = format!("{{token:{key}}}:meta");
    if world.field(&meta, "by").await.is_some() {
        world.set_fields(&meta, &[("at", &made_at)]).await;
    }
}

#[tokio::test]
async fn inv23_without_a_valid_token_the_same_call_goes_on_to_the_full_grant() {
    let world = World::start().await;
    for (number, (state, answer)) in answers().into_iter().enumerate() {
        let (case, key) = (format!("{state:?} {answer:?}"), format!("row {number}"));
        let issuer = expired(&world, &key, true).await;
        issuer.fail([Failure::Error(answer)]);
        let manager = process(&issuer, world.storage(), &key);
        assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1", "{case}");
        assert_eq!((issuer.fetches(), issuer.sent()), (1, vec!["r0".to_owned()]), "{case}");
        // The new refresh token bears no mark, and the next process that renews sends it.
        let another = process(&issuer, world.storage(), &key);
        let token = another.get_token().await.expect("a token");
        another.refresh_rejected(&token).await.expect("a renewal");
        assert_eq!(issuer.sent(), ["r0", "r1"], "{case}");
    }
}

#[tokio::test]
async fn inv23_where_there_is_no_full_grant_nothing_is_given_up_but_what_is_dead() {
    let world = World::start().await;
    for (number, (state, answer)) in answers().into_iter().enumerate() {
        let (case, key) = (format!("{state:?} {answer:?}"), format!("row {number}"));
        let issuer = expired(&world, &key, false).await;
        issuer.fail([Failure::Error(answer.clone()), Failure::Error(answer)]);
        let error = process(&issuer, world.storage(), &key).get_token().await.expect_err("no token");
        assert_eq!(error.needs_login(), state == State::Dead, "{case}: {error:?}");

        // Another process, at once: it does not send a token that may be on its way.
        end_cool_down(&world, &key).await;
        let hurried = process(&issuer, world.storage(), &key).get_token().await.expect_err("no token");
        let is_marked = matches!(state, State::Dead | State::InDoubt);
        assert_eq!(issuer.sent().len(), if is_marked { 1 } else { 2 }, "{case}: {hurried:?}");

        // When the first process's call must have ended, another process sends the token once more.
        for sent in 2..=3 {
            end_cool_down(&world, &key).await;
            age_the_mark(&world, &key).await;
            let outcome = process(&issuer, world.storage(), &key).get_token().await;
            if issuer.sent().len() == 3 {
                assert_eq!(outcome.expect("well again").access_token(), "t1", "{case}");
                break;
            }
            assert_eq!((issuer.sent().len(), outcome.is_err()), (sent, true), "{case}");
        }
        assert_eq!((issuer.sent().len(), issuer.fetches()), (3, 0), "{case}");
    }
}

#[tokio::test]
async fn inv25_what_another_process_may_have_spent_is_not_sent_where_there_is_a_full_grant() {
    let world = World::start().await;
    let issuer = expired(&world, "crm", true).await;
    issuer.fail([Failure::Hang]);
    let stuck = process(&issuer, world.storage(), "crm");
    // Its runtime ends in the middle of the refresh, and so does its lease.
    let doomed = tokio::spawn(async move { stuck.get_token().await });
    while issuer.sent().is_empty() {
        tokio::task::yield_now().await;
    }
    doomed.abort();
    let token = process(&issuer, world.storage(), "crm").get_token().await.expect("a token");
    assert_eq!((token.access_token(), issuer.sent().len()), ("t1", 1));
}
