//! Months of a manager's life in a moment: a simulated world with clocks that are stepped, machines that
//! sleep and servers that fail, and the invariants that must hold in it.
//!
//! The world keeps *true time*, which neither a step of the wall clock nor a suspend changes. It judges by
//! that time. `FORGE_TEST_LONG` makes each run ten times as many days long.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{
    AuthenticationError, Clock, Credential, ManualClock, TokenData, TokenProvider, async_trait,
};
use forge_token::TokenManager;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::events::{DAY, Event, HOUR, Health, SECOND, events, steps};
use crate::simulation::World;
use crate::{at_once, seed};

/// Calls `get_token` once, and checks its promises.
async fn poll(world: &World, manager: &TokenManager) -> Result<(), TestCaseError> {
    let must_serve = world.must_serve();
    if let Some(token) = at_once(manager.get_token()) {
        let token = token.map_err(|error| TestCaseError::fail(error.to_string()))?;
        world.check_handed_out(&token)?;
        // The call may have started a renewal in the background.
        tokio::task::yield_now().await;
    } else {
        prop_assert!(!must_serve, "a caller waits although there is a valid token: {:?}", world.now());
        if let Ok(token) = manager.get_token().await {
            world.check_handed_out(&token)?;
        }
    }
    world.check_unbroken()
}

/// Lives through the events, then repairs the server and checks that the manager recovers.
async fn live(events: &[Event]) -> Result<i64, TestCaseError> {
    let world = World::new();
    let manager = world.manager();
    for event in events {
        world.happen(*event);
        let (times, apart) = match event {
            Event::Poll { times, apart } => (*times, *apart),
            _ => (1, 0),
        };
        for _ in 0..times {
            poll(&world, &manager).await?;
            world.pass(apart);
        }
    }

    world.happen(Event::Server(Health::Well));
    world.happen(Event::Calls { take: 0, step: 0, suspend: 0 });
    let cool_down = manager.status().cool_down.unwrap_or_default();
    prop_assert!(cool_down <= Duration::from_secs(3600));
    world.pass(i64::try_from(cool_down.as_millis()).expect("an hour at most"));
    let token = manager.get_token().await;
    prop_assert!(token.is_ok(), "it does not recover: {token:?}");
    world.check_unbroken()?;
    Ok(world.now().truth)
}

/// Lives through random events until that makes 10,000 days.
fn ten_thousand_days(events: impl Strategy<Value = Event>) {
    let days = if std::env::var_os("FORGE_TEST_LONG").is_some() { 100_000 } else { 10_000 };
    let lived = Cell::new(0);
    let stories = proptest::collection::vec(events, 1..400);
    while lived.get() < days * DAY {
        let config = Config { cases: 50, failure_persistence: None, rng_seed: seed(), ..Config::default() };
        let outcome = TestRunner::new(config).run(&stories, |events| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            lived.set(lived.get() + runtime.expect("a runtime").block_on(live(&events))?);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("after {} days: {error}", lived.get() / DAY);
        }
    }
}

/// Between calls anything may happen. Calls of the token endpoint take no time here.
#[test]
fn inv10_no_token_is_handed_out_past_its_end_and_calls_come_in_due_time() {
    ten_thousand_days(events());
}

/// As above; now calls take up to 25 seconds.
#[test]
fn inv10_a_slow_token_call_stretches_no_life() {
    let slow = (0..25 * SECOND).prop_map(|take| Event::Calls { take, step: 0, suspend: 0 });
    let long = prop_oneof![Just(None), (HOUR..30 * DAY).prop_map(Some)].prop_map(Event::Lifetime);
    ten_thousand_days(prop_oneof![
        10 => events().prop_filter("long lives", |event| !matches!(event, Event::Lifetime(_))),
        1 => long,
        2 => slow,
    ]);
}

/// As above; now clocks are set, and machines sleep, while a call is under way.
#[test]
fn inv10_what_happens_to_the_clocks_during_a_token_call_stretches_no_life() {
    let steps = (0..SECOND, steps()).prop_map(|(take, step)| Event::Calls { take, step, suspend: 0 });
    let none = Just(Event::Calls { take: 0, step: 0, suspend: 0 });
    ten_thousand_days(prop_oneof![10 => events(), 1 => steps, 1 => none]);
}

async fn one_call(lifetime: i64, call: Event) -> (Arc<World>, TokenManager, Arc<Credential>) {
    let world = World::new();
    world.happen(Event::Lifetime(Some(lifetime)));
    world.happen(call);
    let manager = world.manager();
    let token = manager.get_token().await.expect("a token");
    world.happen(Event::Calls { take: 0, step: 0, suspend: 0 });
    (world, manager, token)
}

#[tokio::test]
async fn inv10_a_clock_set_back_during_the_token_call_does_not_stretch_the_life() {
    let (world, manager, first) = one_call(HOUR, Event::Calls { take: 100, step: -HOUR, suspend: 0 }).await;
    world.pass(HOUR);
    assert!(
        manager.cached().is_none_or(|token| token.id() != first.id()),
        "handed out an hour after it was issued for an hour"
    );
}

#[tokio::test]
async fn inv10_what_has_expired_on_the_way_is_not_handed_out() {
    let world = World::new();
    world.happen(Event::Lifetime(Some(HOUR)));
    // The machine sleeps for a day between the request and the answer.
    world.happen(Event::Calls { take: 100, step: 0, suspend: DAY });
    let handed_out = world.manager().get_token().await.ok();
    assert!(handed_out.is_none(), "expired since 23 hours, by the wall clock too");
}

#[tokio::test]
async fn inv08_tokens_that_have_expired_on_arrival_are_no_loop_of_calls() {
    let world = World::new();
    // A clock that is ahead of the absolute expiry that a provider states.
    world.happen(Event::Lifetime(Some(0)));
    let manager = world.manager();
    for _ in 0..1_000 {
        let _ = manager.get_token().await;
    }
    let calls = world.outside().calls;
    assert!(calls <= 10, "{calls} token calls for 1000 callers at one moment");
}

/// Says the same token again and again, as caches in front of a token endpoint do.
struct SameTokenProvider(Mutex<usize>, TokenData);

#[async_trait]
impl TokenProvider for SameTokenProvider {
    fn service_name(&self) -> &'static str {
        "the same again"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        *self.0.lock().expect("unpoisoned") += 1;
        Ok(self.1.clone())
    }
}

#[tokio::test]
async fn inv08_a_renewal_that_brings_the_same_token_is_no_loop_of_calls() {
    let clock = Arc::new(ManualClock::new());
    let now = clock.now().wall();
    for token in [
        TokenData::new("t").with_issued_at(now).with_expires_at(now + Duration::from_secs(3600)),
        TokenData::new("t").with_expires_at(now + Duration::from_secs(3600)),
    ] {
        let clock = Arc::new(ManualClock::new());
        let provider = Arc::new(SameTokenProvider(Mutex::new(0), token));
        let manager = TokenManager::builder(Arc::clone(&provider))
            .clock(Arc::clone(&clock) as _)
            .build()
            .expect("a manager");
        // An hour, asked ten times a second.
        for _ in 0..35_990 {
            let _ = manager.get_token().await;
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(100));
        }
        let calls = *provider.0.lock().expect("unpoisoned");
        assert!(calls <= 60, "{calls} token calls in an hour");
    }
}

#[tokio::test]
async fn inv08_a_token_that_no_header_can_carry_is_no_loop_of_calls() {
    let provider = Arc::new(SameTokenProvider(Mutex::new(0), TokenData::new("a\r\nb")));
    let clock = Arc::new(ManualClock::new());
    let manager = TokenManager::builder(Arc::clone(&provider)).clock(clock).build().expect("a manager");
    for _ in 0..1_000 {
        manager.get_token().await.expect_err("no header");
    }
    let calls = *provider.0.lock().expect("unpoisoned");
    assert!(calls <= 10, "{calls} token calls for 1000 callers at one moment");
    assert!(manager.status().last_error.is_some());
}

#[tokio::test]
async fn inv08_retry_after_zero_is_no_leave_to_call_at_once() {
    let world = World::new();
    world.happen(Event::Server(Health::RetryAfter(0)));
    let manager = world.manager();
    for _ in 0..1_000 {
        manager.get_token().await.expect_err("it fails");
    }
    let calls = world.outside().calls;
    assert!(calls <= 10, "{calls} token calls for 1000 callers at one moment");
}
