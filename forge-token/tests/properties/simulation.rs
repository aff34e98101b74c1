//! A simulated world: clocks that are stepped, a machine that sleeps, and a token endpoint that fails.
//!
//! The world keeps *true time*, which neither a step of the wall clock nor a suspend changes. It judges by that time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, Credential, ManualClock, OAuthErrorCode, TokenData,
    TokenProvider, async_trait,
};
use forge_token::TokenManager;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::events::{Event, HOUR, Health, MINUTE, SECOND};

/// A token's lifetime, and the true times of the call that issued it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IssuedToken {
    pub(crate) lifetime: Option<i64>,
    pub(crate) sent: ClockDrift,
    pub(crate) answered: ClockDrift,
}

/// True time, and the distance of both clocks from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClockDrift {
    pub(crate) truth: i64,
    /// Sum of all suspends so far: how far the monotonic clock is behind.
    pub(crate) asleep: i64,
    /// Sum of all steps so far: how far the wall clock is ahead, if positive.
    pub(crate) stepped: i64,
    /// How often a clock was stepped forward or stopped. Each time may cost a renewal.
    pub(crate) jolts: u32,
}

pub(crate) struct Outside {
    pub(crate) now: ClockDrift,
    pub(crate) lifetime: Option<i64>,
    pub(crate) say_when: bool,
    pub(crate) refreshable: bool,
    pub(crate) health: Health,
    pub(crate) call: (i64, i64, i64),
    pub(crate) refresh_token: Option<String>,
    pub(crate) issued: HashMap<String, IssuedToken>,
    pub(crate) last: Option<Outcome>,
    pub(crate) failures_in_a_row: u32,
    pub(crate) calls: usize,
    /// The token that was issued last.
    pub(crate) at_hand: Option<IssuedToken>,
    /// A refresh token that the manager sent without learning whether the server has replaced it.
    pub(crate) in_doubt: Option<String>,
    /// The refresh token of an attempt that ended because of `Retry-After`.
    pub(crate) was_patient_with: Option<String>,
}

/// How long the manager may hand out the cached token.
#[derive(Clone, Copy)]
pub(crate) enum TokenLifetime {
    /// There is no token.
    Not,
    /// For this many milliseconds.
    Millis(i64),
    /// Clocks were set since the server issued the token, or the token ends at this moment.
    Unknown,
}

/// How the last call ended.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Token(IssuedToken),
    /// With the shortest time for which the manager must back off, in monotonic time. `None`: the same
    /// attempt may go on.
    Failure(ClockDrift, Option<i64>),
}

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) outside: Mutex<Outside>,
    /// The invariant that a provider's call found broken.
    pub(crate) broken: Mutex<Option<String>>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
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

    pub(crate) fn manager(self: &Arc<Self>) -> TokenManager {
        TokenManager::builder(Server(Arc::clone(self)))
            .clock(Arc::clone(&self.clock) as _)
            .build()
            .expect("a manager")
    }

    pub(crate) fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> ClockDrift {
        self.outside().now
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.clock.advance(duration(millis));
        self.outside().now.truth += millis;
    }

    pub(crate) fn suspend(&self, millis: i64) {
        self.clock.suspend(duration(millis));
        let mut outside = self.outside();
        outside.now.truth += millis;
        outside.now.asleep += millis;
        outside.now.jolts += 1;
    }

    pub(crate) fn step(&self, millis: i64) {
        self.clock.step_wall(millis);
        let mut outside = self.outside();
        outside.now.stepped += millis;
        outside.now.jolts += u32::from(millis > 0);
    }

    pub(crate) fn happen(&self, event: Event) {
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

    /// Checks a token that the manager hands out now:
    ///
    /// The manager hands out a token past its true end only if, since the fetch, the wall clock was set back
    /// *and* the machine slept. It then does so for at most the smaller of the two sums. Neither of them
    /// alone prolongs the token.
    pub(crate) fn check_handed_out(&self, credential: &Credential) -> Result<(), TestCaseError> {
        let outside = self.outside();
        let issued = outside.issued.get(credential.access_token()).expect("issued here");
        let Some(lifetime) = issued.lifetime else { return Ok(()) };
        let overdue = outside.now.truth - issued.sent.truth - lifetime;
        let asleep = outside.now.asleep - issued.sent.asleep;
        let set_back = (issued.sent.stepped - outside.now.stepped).max(0);
        // The monotonic clock may count the lifetime from the end of a call that takes time.
        let call = issued.answered.truth - issued.sent.truth;
        let skew = asleep.min(set_back) + call;
        prop_assert!(
            overdue < skew.max(1),
            "{overdue} ms late, {skew} allowed: {issued:?} {:?}",
            outside.now
        );
        Ok(())
    }

    /// Whether the manager must serve callers with the cached token in any state of the server, because all
    /// clocks say that the token is far from its end.
    pub(crate) fn must_serve(&self) -> bool {
        let outside = self.outside();
        let Some(Outcome::Token(issued)) = outside.last else { return false };
        let Some(lifetime) = issued.lifetime else { return true };
        let margin = (30 * SECOND).min(lifetime / 2);
        let elapsed = outside.now.truth - issued.sent.truth;
        outside.now.jolts == issued.sent.jolts && elapsed < lifetime - margin
    }

    /// Checks that the manager makes no call too early: neither a renewal nor a repetition.
    pub(crate) fn check_call(&self) {
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

    pub(crate) fn break_with(&self, what: String) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    pub(crate) fn check_unbroken(&self) -> Result<(), TestCaseError> {
        match self.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(what) => Err(TestCaseError::fail(what)),
            None => Ok(()),
        }
    }
}

/// The token endpoint of the world.
pub(crate) struct Server(pub(crate) Arc<World>);

impl Server {
    pub(crate) fn call(&self, refresh_token: Option<&str>) -> Result<TokenData, AuthenticationError> {
        let world = &self.0;
        world.check_call();
        let mut sent = world.now();
        let sent_at = world.clock.now().wall();
        let (take, step, suspend) = world.outside().call;
        // The clock is set during one call only. Each call may be slow.
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
            // The refresh token is dead. The same attempt goes on with the full grant.
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
            // The clock was set during a failed refresh that this call replaces. The manager may count from
            // before the refresh, and renew too early.
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
    pub(crate) fn fail(&mut self, now: ClockDrift, refresh_token: Option<&str>) -> AuthenticationError {
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
                // A back-off lasts no longer than the cached token.
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

    /// Whether the same attempt goes on after a failed refresh. It does not if there is a valid token, or if
    /// the server has sent `Retry-After` for the first time.
    pub(crate) fn goes_on_to_the_full_grant(&mut self, refresh_token: &str, lasts: TokenLifetime) -> bool {
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

    pub(crate) fn lasts(&self, now: ClockDrift) -> TokenLifetime {
        let Some(issued) = self.at_hand else { return TokenLifetime::Not };
        let Some(lifetime) = issued.lifetime else { return TokenLifetime::Millis(i64::MAX) };
        let usable = lifetime - (30 * SECOND).min(lifetime / 2);
        // The manager may count the lifetime from the end of a slow call.
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

pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(millis.max(0).unsigned_abs())
}
