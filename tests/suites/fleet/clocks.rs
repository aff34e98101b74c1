//! Replicas whose wall clock is ten minutes off, either way.

use std::time::{Duration, Instant};

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Request, Settings};
use serde_json::Value;
use tokio::time::sleep;

use crate::alone;
use crate::member::{Fleet, settings, the_token};
use crate::redis::Redis;

const TEN_MINUTES: i64 = 600_000;
const AHEAD: [i64; 3] = [0, TEN_MINUTES, -TEN_MINUTES];
/// A busy machine may carry out an order so much later, and rounding to seconds may add so much.
const ROUNDING: i64 = 1_500;

#[tokio::test(flavor = "multi_thread")]
async fn inv10_a_clock_that_is_ten_minutes_off_costs_no_token_call_whoever_fetched() {
    const LIFE: i64 = 60_000;
    /// The mandatory window is half of such a life.
    const USABLE: i64 = LIFE / 2;

    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_lifetime(Some(Duration::from_secs(60)));
    let fleet = fleet(&server, &redis).await;
    for writer in 0..AHEAD.len() {
        let key = format!("fetched by {writer}");
        let calls = server.token_calls();
        let (begun, begun_there) = (Instant::now(), redis.now().await);
        let token = the_token(&[fleet.members[writer].does(Request::Get, &key, 10).await]);
        for reader in &fleet.members {
            assert_eq!(the_token(&[reader.does(Request::Get, &key, 10).await]), token);
        }
        assert_eq!(server.token_calls(), calls + 1, "fetched by {writer}");

        let record: Value = serde_json::from_str(&redis.record(&key).await.expect("a record")).expect("JSON");
        let expires_at =
            record["expires_at"].as_str().and_then(|text| text.parse::<chrono::NaiveDateTime>().ok());
        let expires_at = expires_at.expect("naive UTC").and_utc().timestamp_millis();
        assert_near(expires_at - begun_there, LIFE, "the record is by the time of Redis");
        for member in &fleet.members {
            let state = member.state(&key).await;
            let passed = millis(begun);
            assert_near(state.expires_in.expect("an expiry") + passed, LIFE, "by the clock of each");
            let usable_for = i64::try_from(state.usable_for.expect("usable")).expect("a short time");
            assert_near(usable_for + passed, USABLE, "not too early and not too late");
        }
    }
    println!("clocks: written and read by clocks of {AHEAD:?} ms, one token call per token");
}

/// The second half of this life is the mandatory window, and the second half of the rest is the advisory
/// one.
const SHORT_LIFE: i64 = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn inv10_a_clock_that_is_ten_minutes_off_uses_no_token_too_long_and_renews_none_too_early() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_lifetime(Some(Duration::from_millis(SHORT_LIFE.unsigned_abs())));
    let fleet = fleet(&server, &redis).await;
    for attempt in 0..5 {
        if is_used_for_half_its_life(&server, &fleet, attempt).await {
            println!(
                "clocks: tokens of {SHORT_LIFE} ms are used for half of that by all, and renewed once for all"
            );
            return;
        }
    }
    panic!("this machine has too much else to do for such short lives");
}

/// Returns false if the machine was too slow for the test to tell.
async fn is_used_for_half_its_life(server: &AuthorizationServer, fleet: &Fleet, attempt: usize) -> bool {
    // All keys at once: each key is a life of its own.
    let keys: Vec<_> = (0..AHEAD.len()).map(|writer| format!("used up {attempt} after {writer}")).collect();
    let (begun, calls) = (Instant::now(), server.token_calls());
    let mut tokens = Vec::new();
    for (key, writer) in keys.iter().zip(&fleet.members) {
        tokens.push(the_token(&[writer.does(Request::Get, key, 1).await]));
    }
    let fetched = begun.elapsed();
    // The other processes come later, and have to know the token's age then.
    sleep(Duration::from_secs(1)).await;
    let mut used = Vec::new();
    for key in &keys {
        used.push(the_token(&fleet.all(Request::Get, key, 1).await));
    }
    if millis(begun) >= SHORT_LIFE / 4 {
        return false;
    }
    assert_eq!((used, server.token_calls()), (tokens.clone(), calls + AHEAD.len()), "not renewed too early");

    let used_up = fetched + Duration::from_millis(SHORT_LIFE.unsigned_abs() / 2 + 100);
    sleep(used_up.saturating_sub(begun.elapsed())).await;
    for (key, token) in keys.iter().zip(&tokens) {
        for member in &fleet.members {
            assert_eq!(member.state(key).await.usable_for, None, "not used too long");
        }
        assert_ne!(the_token(&fleet.all(Request::Get, key, 1).await), *token);
    }
    assert_eq!(server.token_calls(), calls + 2 * AHEAD.len(), "each renewed once");
    true
}

async fn fleet(server: &AuthorizationServer, redis: &Redis) -> Fleet {
    let settings = settings(server, redis);
    Fleet::start_with(AHEAD.len(), |number| Settings { clock_ahead: AHEAD[number], ..settings.clone() }).await
}

fn millis(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_millis()).expect("a short time")
}

fn assert_near(actual: i64, expected: i64, why: &str) {
    assert!((expected - ROUNDING..=expected + ROUNDING).contains(&actual), "{why}: {actual}, not {expected}");
}
