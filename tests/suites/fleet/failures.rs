//! Failures: those of one process stay its own, and all processes share those of the server.

use std::time::{Duration, Instant};

use forge_tests::fleet::{Failure, Outcome, Request, Settings};
use forge_tests::{AuthorizationServer, Machine, StatusCode};
use tokio::time::sleep;

use crate::member::{Fleet, ended, settings, the_caller, the_token};
use crate::redis::Redis;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 16;
const TASKS: usize = 10;
const CALL: Duration = Duration::from_millis(100);
/// The number of the process with a wrong secret.
const STRANGER: usize = 0;

#[tokio::test(flavor = "multi_thread")]
async fn inv04_one_wrong_secret_holds_nobody_up_and_is_nobody_elses_failure() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_delay(CALL);
    let settings = settings(&server, &redis);
    let wrong = Settings { client_secret: "wrong".to_owned(), ..settings.clone() };
    let settings = |number| if number == STRANGER { wrong.clone() } else { settings.clone() };
    let fleet = Fleet::start_with(SIZE, settings).await;
    let machine = Machine::watch();
    let (mut times, rounds) = (Times::new(), rounds(100, 10));
    for round in 0..rounds {
        let key = format!("wrong secret {round}");
        let before = server.token_calls();
        // This process comes first, so it has the lease while all others come.
        let stranger = fleet.members[STRANGER].begun(Request::Get, &key, TASKS);
        assert_eq!(the_caller(&server, before).await, STRANGER);
        let begun = Instant::now();
        let others = fleet.members[STRANGER + 1..].iter();
        let outcomes = ended(others.map(|member| member.begun(Request::Get, &key, TASKS)).collect()).await;
        let (took, excused) = (begun.elapsed(), machine.stood_still_since(begun));
        let token = the_token(&outcomes);
        assert!(took <= CALL + Duration::from_secs(1) + excused, "{took:?}, {excused:?} excused");
        times.add(took);

        let stranger = stranger.await.expect("no panic").expect("an outcome");
        assert!(stranger.tokens.is_empty() && stranger.errors.len() == TASKS, "{stranger:?}");
        assert!(stranger.errors.iter().all(|error| error.status == Some(401)), "{stranger:?}");
        assert!(!redis.has_cool_down(&key).await);
        for member in &fleet.members[STRANGER + 1..] {
            let state = member.state(&key).await;
            assert!(state.last_error.is_none() && state.cool_down.is_none(), "{state:?}");
        }
        assert_eq!(server.token_calls(), before + 2);
        // It also uses the token that the others have fetched.
        assert_eq!(the_token(&[fleet.members[STRANGER].does(Request::Get, &key, TASKS).await]), token);
        assert_eq!(server.token_calls(), before + 2);
    }
    println!(
        "wrong secret: {rounds} rounds, two token calls each; the other {} served after {times}",
        SIZE - 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inv05_a_wrong_secret_does_not_use_up_the_refresh_token_of_the_others() {
    const SIZE: usize = 4;

    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_refresh_tokens(true);
    let user = (server.username().to_owned(), server.password().to_owned());
    let settings = Settings { user: Some(user), ..settings(&server, &redis) };
    let wrong = Settings { client_secret: "wrong".to_owned(), ..settings.clone() };
    let settings = |number| if number == STRANGER { wrong.clone() } else { settings.clone() };
    let fleet = Fleet::start_with(SIZE, settings).await;
    let key = "refresh token";
    fleet.members[STRANGER + 1].does(Request::Get, key, 1).await;
    the_token(&fleet.all(Request::Get, key, 1).await);
    server.revoke_all();
    // This process is the first to send the refresh token, and the server does not even look at that token.
    let refused = fleet.members[STRANGER].does(Request::Reject, key, TASKS).await;
    assert!(refused.errors.iter().all(|error| error.status == Some(401)), "{refused:?}");
    let (refreshes, full_grants) =
        (server.calls_by_grant("refresh_token"), server.calls_by_grant("password"));
    let others = fleet.members[STRANGER + 1..].iter();
    let outcomes = ended(others.map(|member| member.begun(Request::Reject, key, TASKS)).collect()).await;
    the_token(&outcomes);
    assert_eq!(server.calls_by_grant("refresh_token"), refreshes + 1);
    assert_eq!(server.calls_by_grant("password"), full_grants);
    println!("wrong secret: the others go on with the refresh token that it has sent in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn inv08_a_server_that_asks_for_time_is_given_it_by_the_whole_fleet() {
    const RETRY_AFTER: u32 = 2;

    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_delay(CALL);
    server.set_retry_after(Some(RETRY_AFTER));
    let fleet = Fleet::start(SIZE, &settings(&server, &redis)).await;
    let rounds = rounds(20, 2);
    for round in 0..rounds {
        let (key, before) = (format!("busy server {round}"), server.token_calls());
        server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
        let begun = Instant::now();
        let outcomes = fleet.all(Request::Get, &key, TASKS).await;
        assert_busy(&outcomes);
        let refused = Instant::now();
        assert_eq!(server.token_calls(), before + 1, "one has tried, and all wait");
        assert!(redis.has_cool_down(&key).await);
        // A process that asks meanwhile gets this error without a token call, however often it asks.
        while begun.elapsed() < CALL + Duration::from_secs(1) {
            assert_busy(&fleet.all(Request::Get, &key, 1).await);
        }
        let early = begun.elapsed() < CALL + Duration::from_secs(u64::from(RETRY_AFTER));
        assert!(!early || server.token_calls() == before + 1, "{} calls", server.token_calls() - before);

        server.set_failing(None);
        let calls = server.token_calls();
        sleep(
            (refused + Duration::from_secs(u64::from(RETRY_AFTER))).saturating_duration_since(Instant::now()),
        )
        .await;
        the_token(&fleet.all(Request::Get, &key, TASKS).await);
        assert_eq!(server.token_calls(), calls + 1);
        assert!(!redis.has_cool_down(&key).await);
    }
    println!(
        "busy server: {rounds} rounds of {SIZE} processes, one call each to be refused and one to recover"
    );
}

/// Each error is temporary: the server refused this process, or it refused another one.
fn assert_busy(outcomes: &[Outcome]) {
    let is_busy = |error: &Failure| error.status == Some(503) && error.is_transient;
    for outcome in outcomes {
        assert!(outcome.tokens.is_empty() && outcome.errors.iter().all(is_busy), "{outcome:?}");
        assert!(!outcome.errors.is_empty());
    }
}
