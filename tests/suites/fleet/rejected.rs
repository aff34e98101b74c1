//! A revoked token: all processes find out at the same moment.

use std::time::Duration;

use forge_tests::fleet::{Order, Report, Request, Settings};
use forge_tests::{AuthorizationServer, StatusCode};
use tokio::time::sleep;

use crate::member::{Fleet, longest, settings, the_token};
use crate::redis::Redis;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 16;
const TASKS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn inv11_a_revoked_token_that_sixteen_processes_see_at_once_is_one_token_call() {
    let _alone = alone().await;
    a_token_is_revoked("client_credentials").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inv11_a_revoked_token_with_a_refresh_token_is_one_refresh() {
    let _alone = alone().await;
    a_token_is_revoked("refresh_token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inv19_a_rejected_token_is_used_by_nobody_any_more_also_when_it_cannot_be_renewed() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let fleet = Fleet::start(SIZE, &settings(&server, &redis)).await;
    for round in 0..rounds(20, 2) {
        let key = format!("revoked for good {round}");
        the_token(&fleet.all(Request::Get, &key, 1).await);
        server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
        let rejected = fleet.members[0].does(Request::Reject, &key, TASKS).await;
        assert_eq!((rejected.tokens.len(), rejected.errors.len()), (0, TASKS), "{rejected:?}");
        assert_eq!(redis.token(&key).await, None);
        // Time for the last process to hear of it, even on a busy machine.
        sleep(Duration::from_millis(500)).await;
        for report in fleet.told(&Order::Show(vec![key.clone()])).await {
            let Some(Report::AtHand(tokens)) = report else { panic!("nothing to show: {report:?}") };
            assert_eq!(tokens, [None], "round {round}");
        }
        server.set_failing(None);
    }
    println!("revoked, and the server is down: nobody goes on with it");
}

async fn a_token_is_revoked(grant: &str) {
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let mut settings = settings(&server, &redis);
    if grant == "refresh_token" {
        server.set_refresh_tokens(true);
        let user = (server.username().to_owned(), server.password().to_owned());
        settings = Settings { user: Some(user), ..settings };
    }
    let fleet = Fleet::start(SIZE, &settings).await;
    let (mut times, rounds) = (Times::new(), rounds(100, 10));
    for round in 0..rounds {
        let key = format!("revoked {round}");
        let revoked = the_token(&fleet.all(Request::Get, &key, 1).await);
        server.revoke_all();
        let (calls, of_this_kind) = (server.token_calls(), server.calls_by_grant(grant));
        let outcomes = fleet.all(Request::Reject, &key, TASKS).await;
        let renewed = the_token(&outcomes);
        assert_ne!(renewed, revoked);
        assert_eq!(server.token_calls(), calls + 1, "round {round}");
        assert_eq!(server.calls_by_grant(grant), of_this_kind + 1, "round {round}");
        assert_eq!(redis.token(&key).await, Some(renewed));
        times.add(longest(&outcomes));
    }
    println!("revoked ({grant}): {rounds} rounds of {SIZE} x {TASKS}, one token call each; slowest {times}");
}
