//! A whole fleet that starts without a token.

use std::time::Duration;

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Request, Settings};

use crate::member::{Fleet, longest, settings, the_token};
use crate::redis::Redis;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 16;
const TASKS: usize = 100;
const CALL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn inv04_sixteen_cold_processes_with_a_hundred_callers_each_make_one_token_call() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let fleet = Fleet::start(SIZE, &settings(&server, &redis)).await;
    let mut times = Times::new();
    let rounds = rounds(200, 20);
    for round in 0..rounds {
        // Race: with a quick server some processes read Redis before the token is stored, and ask for the
        // lease after the holder has released it.
        let delay = if round % 2 == 0 { CALL } else { Duration::ZERO };
        server.set_delay(delay);
        let key = format!("cold {round}");
        let outcomes = fleet.all(Request::Get, &key, TASKS).await;
        let token = the_token(&outcomes);
        assert_eq!(server.token_calls(), round + 1, "round {round}");
        assert_eq!(redis.token(&key).await, Some(token));
        assert_eq!(redis.holder(&key).await, None, "nobody keeps the lease");
        if delay == CALL {
            times.add(longest(&outcomes));
        }
    }
    println!(
        "cold: {rounds} rounds of {SIZE} x {TASKS} callers, one token call each; slowest caller {times}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inv04_a_lease_is_extended_for_as_long_as_the_token_call_takes() {
    const LEASE: Duration = Duration::from_secs(1);
    const CALL: Duration = Duration::from_millis(3_500);

    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_delay(CALL);
    let fleet = Fleet::start(SIZE, &Settings { lease: LEASE, ..settings(&server, &redis) }).await;
    let outcomes = fleet.all(Request::Get, "slow", TASKS).await;
    the_token(&outcomes);
    assert_eq!(server.token_calls(), 1);
    println!(
        "slow server: one token call of {CALL:?} with a lease of {LEASE:?}; slowest caller {:.1?}",
        longest(&outcomes)
    );
}
