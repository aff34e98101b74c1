//! Months of a manager's life in a moment: a simulated world with clocks that are stepped, machines that
//! sleep and servers that fail, and what must hold in it whatever happens.
//!
//! The world keeps *true time*, which neither a step of the wall clock nor a suspend touches, and judges by
//! it. `FORGE_TEST_LONG` makes it ten times as many days.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, Credential, ManualClock, OAuthErrorCode, TokenData,
    TokenProvider, async_trait,
};
use forge_token::TokenManager;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::events::{DAY, Event, HOUR, Health, MINUTE, SECOND, events, steps};
use crate::{at_once, seed};

/// What is known of a token by true time.
#[derive(Clone, Copy, Debug)]
struct IssuedToken {
    lifetime: Option<i64>,
    sent: ClockDrift,
    answered: ClockDrift,
}

/// True time, and how far the clocks have gone away from it.
#[derive(Clone, Copy, Debug, Default)]
struct ClockDrift {
    truth: i64,
    /// Sum of all suspends so far: how far the monotonic clock is behind.
    asleep: i64,
    /// Sum of all steps so far: how far the wall clock is ahead, if positive.
    stepped: i64,
    /// How often clocks were stepped forward or stood still: each may cost a renewal.
    jolts: u32,
}

struct Outside {
    now: ClockDrift,
    lifetime: Option<i64>,
    say_when: bool,
    refreshable: bool,
    health: Health,
    call: (i64, i64, i64),
    refresh_token: Option<String>,
    issued: HashMap<String, IssuedToken>,
    last: Option<Outcome>,
    failures_in_a_row: u32,
    calls: usize,
    /// The token that was issued last.
    at_hand: Option<IssuedToken>,
    /// A refresh token that was sent, and of which nobody knows whether the server has replaced it.
    in_doubt: Option<String>,
    /// A refresh token with which an attempt has ended because of `Retry-After`.
    was_patient_with: Option<String>,
}

/// How long the token at hand can be handed out.
#[derive(Clone, Copy)]
enum TokenLifetime {
    /// There is none.
    Not,
    /// So many milliseconds.
    Millis(i64),
    /// Clocks were set since it was issued, or it ends at this moment.
    Unknown,
}

/// How the last call ended.
#[derive(Clone, Copy)]
enum Outcome {
    Token(IssuedToken),
    /// With how long the manager has to stand back at least, in monotonic time; `None`: the same
    /// attempt may go on.
    Failure(ClockDrift, Option<i64>),
}

struct World {
    clock: Arc<ManualClock>,
    outside: Mutex<Outside>,
    /// What broke an invariant inside of a provider's call.
    broken: Mutex<Option<String>>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::new(ManualClock::new()),
            outside: Mutex::new(Outside {
                now: ClockDrift::default(),
                lifetime: Some(HOUR),
                say_when: true,
                refreshable: false,
                health: Health::Well,
                call: (0, 0, 0),
                refresh_token: None,
                issued: HashMap::new(),
                last: None,
                failures_in_a_row: 0,
                calls: 0,
                at_hand: None,
                in_doubt: None,
                was_patient_with: None,
            }),
            broken: Mutex::default(),
        })
    }

    fn manager(self: &Arc<Self>) -> TokenManager {
        TokenManager::builder(Server(Arc::clone(self)))
            .clock(Arc::clone(&self.clock) as _)
            .build()
            .expect("a manager")
    }

    fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> ClockDrift {
        self.outside().now
    }

    fn pass(&self, millis: i64) {
        self.clock.advance(duration(millis));
        self.outside().now.truth += millis;
    }

    fn suspend(&self, millis: i64) {
        self.clock.suspend(duration(millis));
        let mut outside = self.outside();
        outside.now.truth += millis;
        outside.now.asleep += millis;
        outside.now.jolts += 1;
    }

    fn step(&self, millis: i64) {
        self.clock.step_wall(millis);
        let mut outside = self.outside();
        outside.now.stepped += millis;
        outside.now.jolts += u32::from(millis > 0);
    }

    fn happen(&self, event: Event) {
        match event {
            Event::Pass(millis) => self.pass(millis),
            Event::Step(millis) => self.step(millis),
            Event::Suspend(millis) => self.suspend(millis),
            Event::Lifetime(lifetime) => self.outside().lifetime = lifetime,
            Event::Tokens { say_when, refreshable } => {
                let mut outside = self.outside();
                (outside.say_when, outside.refreshable) = (say_when, refreshable);
            }
            Event::Server(health) => self.outside().health = health,
            Event::RevokeRefreshTokens => self.outside().refresh_token = None,
            Event::Calls { take, step, suspend } => self.outside().call = (take, step, suspend),
            Event::Poll { .. } => {}
        }
    }

    /// The promise on a token that was handed out now:
    ///
    /// It is handed out past its true end only if since it was fetched the wall clock was set back *and*
    /// the machine slept, and then by at most the smaller of the two sums. Neither alone stretches it.
    fn check_handed_out(&self, credential: &Credential) -> Result<(), TestCaseError> {
        let outside = self.outside();
        let issued = outside.issued.get(credential.access_token()).expect("issued here");
        let Some(lifetime) = issued.lifetime else { return Ok(()) };
        let overdue = outside.now.truth - issued.sent.truth - lifetime;
        let asleep = outside.now.asleep - issued.sent.asleep;
        let set_back = (issued.sent.stepped - outside.now.stepped).max(0);
        // A call that takes time may be counted from its end by the monotonic clock.
        let call = issued.answered.truth - issued.sent.truth;
        let skew = asleep.min(set_back) + call;
        prop_assert!(
            overdue < skew.max(1),
            "{overdue} ms late, {skew} allowed: {issued:?} {:?}",
            outside.now
        );
        Ok(())
    }

    /// Whether callers must be served by the token at hand, however the server fares: it is far from its
    /// end by all clocks.
    fn must_serve(&self) -> bool {
        let outside = self.outside();
        let Some(Outcome::Token(issued)) = outside.last else { return false };
        let Some(lifetime) = issued.lifetime else { return true };
        let margin = (30 * SECOND).min(lifetime / 2);
        let elapsed = outside.now.truth - issued.sent.truth;
        outside.now.jolts == issued.sent.jolts && elapsed < lifetime - margin
    }

    /// No call comes before its time: neither a renewal nor a repetition.
    fn check_call(&self) {
        let outside = self.outside();
        let monotonic = |reading: ClockDrift| reading.truth - reading.asleep;
        let (since, at_least) = match outside.last {
            Some(Outcome::Failure(at, Some(stand_back))) => (monotonic(at), stand_back),
            Some(Outcome::Token(issued)) if issued.sent.jolts == outside.now.jolts => {
                let Some(lifetime) = issued.lifetime else {
                    self.break_with(format!("a renewal of what never ends: {:?}", outside.now));
                    return;
                };
                let usable = lifetime - (30 * SECOND).min(lifetime / 2);
                (monotonic(issued.sent), usable - (270 * SECOND).min(usable / 2))
            }
            _ => return,
        };
        let elapsed = monotonic(outside.now) - since;
        if elapsed < at_least - 2 {
            self.break_with(format!("a call after {elapsed} ms, {at_least} are due: {:?}", outside.now));
        }
    }

    fn break_with(&self, what: String) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    fn check_unbroken(&self) -> Result<(), TestCaseError> {
        match self.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(what) => Err(TestCaseError::fail(what)),
            None => Ok(()),
        }
    }
}

/// The token endpoint of the world.
struct Server(Arc<World>);

impl Server {
    fn call(&self, refresh_token: Option<&str>) -> Result<TokenData, AuthenticationError> {
        let world = &self.0;
        world.check_call();
        let mut sent = world.now();
        let sent_at = world.clock.now().wall();
        let (take, step, suspend) = world.outside().call;
        // A clock is set once, a call may be slow each time.
        world.outside().call = (take, 0, 0);
        world.pass(take);
        if step != 0 {
            world.step(step);
        }
        if suspend != 0 {
            world.suspend(suspend);
        }

        let mut outside = world.outside();
        outside.calls += 1;
        let answered = outside.now;
        if outside.health == Health::Well && refresh_token.is_some() && outside.refresh_token.is_none() {
            // Dead. The same attempt goes on with the full grant.
            outside.last = Some(Outcome::Failure(sent, None));
            let refused = AuthenticationErrorKind::Refused(OAuthErrorCode::InvalidGrant);
            return Err(AuthenticationError::new("", refused));
        }
        if refresh_token.is_some() && outside.in_doubt.as_deref() == refresh_token {
            world.break_with("inv25: a refresh token in doubt is sent again".to_owned());
        }
        if outside.health != Health::Well {
            return Err(outside.fail(answered, refresh_token));
        }
        if refresh_token.is_some_and(|given| outside.refresh_token.as_deref() != Some(given)) {
            world.break_with("not the last refresh token".to_owned());
        }

        if let Some(Outcome::Failure(begun, None)) = outside.last
            && begun.stepped != sent.stepped
        {
            // The clock was set during a refresh that this call makes up for: the manager may count
            // from before, and renew too early.
            sent.jolts = u32::MAX;
        }
        let name = format!("t{}", outside.calls);
        let issued = IssuedToken { lifetime: outside.lifetime, sent, answered };
        outside.issued.insert(name.clone(), issued);
        outside.last = Some(Outcome::Token(issued));
        outside.at_hand = Some(issued);
        outside.failures_in_a_row = 0;
        outside.refresh_token = outside.refreshable.then(|| format!("r{}", outside.calls));
        let mut token = TokenData::new(name);
        if let Some(lifetime) = outside.lifetime {
            token = token.with_expires_at(sent_at + duration(lifetime));
        }
        if outside.say_when {
            token = token.with_issued_at(sent_at);
        }
        if let Some(refresh_token) = outside.refresh_token.clone() {
            token = token.with_refresh_token(refresh_token);
        }
        Ok(token)
    }
}

impl Outside {
    fn fail(&mut self, now: ClockDrift, refresh_token: Option<&str>) -> AuthenticationError {
        let is_permanent = self.health == Health::Permanent;
        let lasts = self.lasts(now);
        let error = match self.health {
            Health::Permanent => {
                let refused = AuthenticationErrorKind::Refused(OAuthErrorCode::InvalidClient);
                AuthenticationError::new("", refused)
            }
            Health::RetryAfter(seconds) => AuthenticationError::new("", AuthenticationErrorKind::Connect)
                .with_retry_after(duration(seconds * SECOND)),
            Health::Transient | Health::Well => {
                AuthenticationError::new("", AuthenticationErrorKind::Connect)
            }
        };
        let stand_back = if let Health::RetryAfter(seconds) = self.health {
            let heeded = match lasts {
                TokenLifetime::Millis(millis) => millis.clamp(5 * MINUTE, HOUR),
                TokenLifetime::Not | TokenLifetime::Unknown => 5 * MINUTE,
            };
            (seconds * SECOND).min(heeded)
        } else {
            let first = if is_permanent { 10 * SECOND } else { SECOND / 4 };
            let backed_off = (first << self.failures_in_a_row.min(8)).min(MINUTE) / 2;
            match lasts {
                TokenLifetime::Not => backed_off,
                // A back-off ends with the token at hand.
                TokenLifetime::Millis(millis) => backed_off.min(millis),
                TokenLifetime::Unknown => 0,
            }
        };
        if let Some(refresh_token) = refresh_token
            && self.goes_on_to_the_full_grant(refresh_token, lasts)
        {
            self.last = Some(Outcome::Failure(now, None));
        } else {
            self.last = Some(Outcome::Failure(now, Some(stand_back)));
            self.failures_in_a_row += 1;
        }
        error
    }

    /// What follows a refresh that has failed: the same attempt goes on, unless there is a valid token, or the
    /// server has asked for patience for the first time.
    fn goes_on_to_the_full_grant(&mut self, refresh_token: &str, lasts: TokenLifetime) -> bool {
        if self.health == Health::Permanent {
            return true;
        }
        self.in_doubt = Some(refresh_token.to_owned());
        let asks_for_patience = matches!(self.health, Health::RetryAfter(_));
        let was_patient = self.was_patient_with.as_deref() == Some(refresh_token);
        match lasts {
            TokenLifetime::Millis(_) => return false,
            TokenLifetime::Unknown => return true,
            TokenLifetime::Not => {}
        }
        if asks_for_patience {
            self.was_patient_with = Some(refresh_token.to_owned());
        }
        !asks_for_patience || was_patient
    }

    fn lasts(&self, now: ClockDrift) -> TokenLifetime {
        let Some(issued) = self.at_hand else { return TokenLifetime::Not };
        let Some(lifetime) = issued.lifetime else { return TokenLifetime::Millis(i64::MAX) };
        let usable = lifetime - (30 * SECOND).min(lifetime / 2);
        // A slow call may be counted from its end.
        let slack = issued.answered.truth - issued.sent.truth + 2;
        let left = usable - (now.truth - issued.sent.truth);
        if issued.sent.jolts != now.jolts
            || issued.answered.stepped != issued.sent.stepped
            || left.abs() <= slack
        {
            return TokenLifetime::Unknown;
        }
        if left > 0 { TokenLifetime::Millis(left - slack) } else { TokenLifetime::Not }
    }
}

#[async_trait]
impl TokenProvider for Server {
    fn service_name(&self) -> &'static str {
        "simulated"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        self.call(None)
    }

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        self.call(current.refresh_token())
    }
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(millis.max(0).unsigned_abs())
}

/// One call of `get_token`, with all that is promised of it.
async fn poll(world: &World, manager: &TokenManager) -> Result<(), TestCaseError> {
    let must_serve = world.must_serve();
    if let Some(token) = at_once(manager.get_token()) {
        let token = token.map_err(|error| TestCaseError::fail(error.to_string()))?;
        world.check_handed_out(&token)?;
        // A renewal in the background may have been begun.
        tokio::task::yield_now().await;
    } else {
        prop_assert!(!must_serve, "a caller waits although there is a valid token: {:?}", world.now());
        if let Ok(token) = manager.get_token().await {
            world.check_handed_out(&token)?;
        }
    }
    world.check_unbroken()
}

/// Lives through the events, and then shows that all heals when the server does.
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
