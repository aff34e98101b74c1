//! One flight, from the look into the storage to the landing.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, ClockReading, StorageError, TokenData, TokenId,
    TokenStorage,
};

use super::Inner;
use super::failures::CoolDownLimits;
use super::flights::Landing;
use super::goal::Goal;
use super::keeping::{NewToken, Unkept};
use super::lookup::Found;
use super::renewal::Known;
use super::slot::Entry;
use super::turn::Waited;
use super::unwinding::{Panicked, unwinding};
use crate::rt::{self, Deadline};

/// How a flight ended without a failure of its own.
#[derive(Clone)]
pub(crate) enum Landed {
    /// A new token by the full grant.
    Fetched(Arc<Entry>),
    /// A new token by a refresh token.
    Refreshed(Arc<Entry>),
    /// One that somebody else had put into slot or storage.
    Adopted(Arc<Entry>),
    /// This token was rejected, but renewals back off.
    Declined(TokenId),
    /// Nothing was tried: this went wrong lately.
    CoolingDown(AuthenticationError),
}

impl Landed {
    fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Fetched(entry) | Self::Refreshed(entry) | Self::Adopted(entry) => Some(entry),
            Self::Declined(_) | Self::CoolingDown(_) => None,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, AuthenticationError>;

/// What the first part of a flight has led to, which the flight's deadline bounds.
enum Obtained {
    Landed(Landed),
    /// The issuer has given a token. It is still to be kept, and no deadline may lose it.
    New(Box<NewToken>),
}

/// What is known of a flight besides its result.
struct Course {
    /// The storage could be asked, or what is at hand can be trusted without.
    is_answered: bool,
    /// What failed is another manager, which has said so.
    is_told: bool,
}

/// Runs in a task of its own. Whatever the provider does, it lands.
pub(crate) async fn fly(manager: Arc<Inner>, goal: Goal, landing: Landing<Result<Landed>>) {
    let deadline = Deadline::after(manager.fetch_timeout());
    let mut course = Course { is_answered: true, is_told: false };
    // On the heap: otherwise each wrapping future would reserve space for this one twice.
    let obtaining = Box::pin(manager.obtain(goal, &landing, &mut course));
    let flown = deadline.bound(unwinding(rt::within(deadline, obtaining))).await;
    let result = match flown {
        Ok(Ok(Ok(Obtained::Landed(landed)))) => Ok(landed),
        Ok(Ok(Ok(Obtained::New(new)))) => {
            // A storage of the user's may panic. Without this the flight would be lost, and flown again.
            let kept = unwinding(Box::pin(manager.keep(goal, *new, &landing))).await;
            let kept =
                kept.unwrap_or_else(|Panicked| Err(manager.failed_afresh(AuthenticationErrorKind::Panicked)));
            manager.or_last_resort(goal, kept, &course)
        }
        Ok(Ok(Err(error))) => Err(error),
        Ok(Err(Panicked)) => Err(manager.failed_afresh(AuthenticationErrorKind::Panicked)),
        Err(_) => Err(manager.failed_afresh(AuthenticationErrorKind::Timeout)),
    };
    if let Err(error) = &result {
        let service = manager.provider.service_name();
        let outcome = if goal.is_in_background() { "the token at hand stays" } else { "no token" };
        let next_attempt_in = error.cool_down().unwrap_or_default();
        let asked_for = error.retry_after().unwrap_or_default();
        if course.is_told {
            tracing::debug!(service, %error, outcome, ?next_attempt_in, "a fetch failed");
        } else if !asked_for.is_zero() && asked_for >= next_attempt_in {
            tracing::warn!(
                service, %error, outcome, retry_after = ?asked_for, ?next_attempt_in,
                "a fetch failed, and the server's Retry-After header delays the next attempt"
            );
        } else {
            tracing::warn!(service, %error, outcome, ?next_attempt_in, "a fetch failed");
        }
    }
    landing.land(result, |result| {
        // Crash: if this flight is lost before this line, the next one takes the token from `unkept`. So
        // clear it in the same step in which callers find the token.
        *manager.unkept.lock() = None;
        if let Some(entry) = result.as_ref().ok().and_then(Landed::entry).filter(|entry| entry.is_for_all()) {
            manager.slot.fill(entry);
        }
    });
}

impl Inner {
    async fn obtain(
        &self,
        goal: Goal,
        landing: &Landing<Result<Landed>>,
        course: &mut Course,
    ) -> Result<Obtained> {
        let landed = match self.find_or_renew(goal, landing, course).await {
            Ok(Obtained::New(new)) => return Ok(Obtained::New(new)),
            Ok(Obtained::Landed(landed)) => Ok(landed),
            Err(error) => Err(error),
        };
        self.or_last_resort(goal, landed, course).map(Obtained::Landed)
    }

    /// After a failure, the token at hand, if the storage could not be asked either.
    fn or_last_resort(&self, goal: Goal, landed: Result<Landed>, course: &Course) -> Result<Landed> {
        let is_failure = matches!(landed, Err(_) | Ok(Landed::CoolingDown(_)));
        match self.last_resort(goal).filter(|_| is_failure && !course.is_answered) {
            Some(entry) => Ok(Landed::Adopted(entry)),
            None => landed,
        }
    }

    async fn find_or_renew(
        &self,
        goal: Goal,
        landing: &Landing<Result<Landed>>,
        course: &mut Course,
    ) -> Result<Obtained> {
        let done = |landed| Ok(Obtained::Landed(landed));
        // Between a caller's miss and this flight another one may have landed.
        if goal != Goal::Confirmed
            && let Some(entry) = self.slot.hit(self.clock.now(), |_| ()).and_then(|hit| hit.clone())
            && goal.accepts(entry.credential().id())
        {
            return done(Landed::Adopted(entry));
        }
        // Crash: an earlier flight got this token and was lost with its runtime before it kept the token.
        let unkept = self.unkept.lock().take();
        if let Some(Unkept { renewed, begun }) = unkept.map(|unkept| *unkept) {
            let (stored, turn) = (self.slot.stored(), self.out_of_turn());
            return Ok(Obtained::New(Box::new(NewToken { renewed, known: None, begun, stored, turn })));
        }
        let mut stored = match self.look_into_storage(goal).await {
            Found::Adoptable(entry) => return done(self.adopted(entry)),
            Found::OnlyHere(entry, instead) => {
                let turn = self.out_of_turn();
                return done(Landed::Adopted(self.offer(entry, instead, turn, landing).await));
            }
            Found::Else(stored) => stored,
            Found::Unanswered => {
                course.is_answered = false;
                None
            }
        };
        if let Some(error) = self.cooling_down(goal).await {
            return done(Landed::CoolingDown(error));
        }
        if let Goal::OtherThan(rejected) = goal
            && !self.may_renew(rejected)
        {
            return done(Landed::Declined(rejected));
        }
        let mut turn = match self.wait_for_turn(goal).await {
            Waited::Over(turn) => turn,
            Waited::Found(entry) => return done(self.adopted(entry)),
            Waited::CoolingDown(error) => return done(Landed::CoolingDown(error)),
        };
        if turn.is_ours() {
            stored = match self.look_in_turn(goal, &mut turn).await {
                Found::Adoptable(entry) => return done(self.adopted(entry)),
                Found::OnlyHere(entry, instead) => {
                    return done(Landed::Adopted(self.offer(entry, instead, turn, landing).await));
                }
                Found::Else(stored) => stored,
                Found::Unanswered => None,
            };
        }

        // If the storage could not say what it has, it still has what it had.
        let stored_id = stored.as_ref().map(TokenData::id).or_else(|| self.slot.stored());
        let known = self.known(stored);
        if let Goal::OtherThan(rejected) = goal {
            self.withdraw(rejected, known.as_ref()).await;
        }
        // From here the life counts: what happens to a clock during the call must not stretch it.
        let begun = self.clock.now();
        self.slot.count_renewal(begun);
        match self.renew(goal, known.as_ref(), &mut turn, landing).await {
            Ok(renewed) => {
                let renewed = Arc::new(renewed);
                Ok(Obtained::New(Box::new(NewToken { renewed, known, begun, stored: stored_id, turn })))
            }
            Err(error) => {
                course.is_told = error.cool_down().is_some();
                let until = self.remember(&error);
                self.give_up_turn(turn, &error, until).await;
                Err(self.standing_back(error, until))
            }
        }
    }

    /// Somebody else has brought this, so what we have met with is over.
    fn adopted(&self, entry: Arc<Entry>) -> Landed {
        let is_news =
            self.slot.entry().is_none_or(|at_hand| at_hand.credential().id() != entry.credential().id());
        if is_news {
            self.failures.lock().forget();
            let given = entry.credential().token().refresh_token().map(TokenId::of);
            self.refresh_history.lock().succeed(None, given);
        }
        Landed::Adopted(entry)
    }

    /// The token that may be renewed instead of a full grant.
    fn known(&self, stored: Option<TokenData>) -> Option<Known> {
        let known = |entry: Arc<Entry>| Known {
            token: entry.credential().token().clone(),
            is_shared: !entry.is_private(),
            // The storage has no record, and a change may have been missed: another process may have
            // refreshed, and its record was then invalidated or lost.
            is_in_doubt: !entry.is_private() && !self.slot.is_certain(&entry),
        };
        // What the storage did not take is newer than what it has.
        let unstored = self.slot.entry().filter(|entry| !entry.is_stored() && self.slot.is_current(entry));
        // Crash: after a failover the storage may hold a token again that was renewed before. This manager has sent
        // that token's refresh token, so the token in the slot is newer.
        let is_older = |token: &TokenData| {
            let history = self.refresh_history.lock();
            self.slot.was_replaced(token.id())
                || token.refresh_token().is_some_and(|sent| history.was_replaced(TokenId::of(sent)))
        };
        let fell_back = stored.as_ref().is_some_and(is_older);
        let at_hand = || {
            let newest = || self.slot.entry().filter(|entry| !is_older(entry.credential().token()));
            if fell_back { newest() } else { self.slot.refreshable() }.map(known)
        };
        let stored = || stored.map(|token| Known { token, is_shared: true, is_in_doubt: fell_back });
        let unstored = unstored.map(known);
        if fell_back {
            unstored.or_else(at_hand).or_else(stored)
        } else {
            unstored.or_else(stored).or_else(at_hand)
        }
    }

    /// What went wrong last, while the cool-down of that lasts. Who asks for a fetch expressly gets one,
    /// and so does a provider that was refused and has other credentials now.
    async fn cooling_down(&self, goal: Goal) -> Option<AuthenticationError> {
        let now = self.clock.now();
        let error = self
            .failures
            .lock()
            .cooling_down(self.cool_down_limits(), now)
            .filter(|_| goal != Goal::Fetched)?;
        let is_over = error.is_permanent()
            && self.provider.has_new_credentials().await
            && self.failures.lock().bypass(self.cool_down_limits(), now);
        (!is_over).then_some(error)
    }

    /// Begins a cool-down. None for settings: who mends a secret's file is not kept waiting; and none for a
    /// panic. Returns until when it lasts, in monotonic milliseconds.
    pub(super) fn remember(&self, error: &AuthenticationError) -> i64 {
        let now = self.clock.now();
        if matches!(error.kind(), AuthenticationErrorKind::Configuration | AuthenticationErrorKind::Panicked)
        {
            return now.monotonic_millis();
        }
        let until = self.failures.lock().record(error, self.cool_down_limits(), now, rt::random());
        if let Some(entry) = self.slot.entry() {
            entry.plan_renewal(now, until);
        }
        until
    }

    pub(super) fn cool_down_limits(&self) -> CoolDownLimits {
        CoolDownLimits { token_lasts: self.usable_at_hand(), max_retry_after: self.max_retry_after }
    }

    /// How long callers can go on with the token at hand; `None`: they cannot. A token that an API has
    /// rejected, or that may have been invalidated elsewhere, serves nobody.
    pub(super) fn usable_at_hand(&self) -> Option<Duration> {
        let now = self.clock.now();
        let entry = self.slot.entry().filter(|entry| {
            entry.is_usable(now)
                && entry.is_trusted(now)
                && self.slot.is_current(entry)
                && !self.slot.was_seen_rejected(entry.id())
        })?;
        let left = entry.times().mandatory.left(now);
        Some(left.map_or(Duration::MAX, |millis| Duration::from_millis(millis.unsigned_abs())))
    }

    /// Remembers the rejection, even if the slot holds another token by now: the manager must not adopt the
    /// rejected one from the storage again. If the manager may renew the token now, it stops handing it out.
    /// While renewals back off, it goes on handing it out: the API may reject only some requests.
    pub(super) fn mark_rejected(&self, rejected: TokenId) {
        // Order: the back-off after a failed background renewal applies only while the cached token is usable.
        // The rejection ends that, so remember it before asking whether the cool-down is over.
        self.slot.remember_rejection(rejected);
        let now = self.clock.now();
        if self.cool_down_left(now).is_zero() {
            self.slot.withhold(rejected, now);
        }
    }

    /// How long until a rejected token may be renewed.
    pub(super) fn next_renewal_in(&self) -> Duration {
        let now = self.clock.now();
        self.cool_down_left(now).max(self.slot.renewal_in(now))
    }

    fn cool_down_left(&self, now: ClockReading) -> Duration {
        let limits = self.cool_down_limits();
        self.failures.lock().last(limits, now).map_or(Duration::ZERO, |(_, left)| left)
    }

    /// Whether a rejected token may be renewed now. From here on it is no hit any more.
    fn may_renew(&self, rejected: TokenId) -> bool {
        let now = self.clock.now();
        self.slot.reject(rejected, now)
    }

    /// Takes a rejected token out of the storage, so that nobody picks it up meanwhile. One that
    /// can be refreshed stays until it is replaced: with it the refresh token would be lost.
    async fn withdraw(&self, rejected: TokenId, known: Option<&Known>) {
        let refreshable =
            known.is_some_and(|known| known.token.id() == rejected && known.token.refresh_token().is_some());
        if !refreshable {
            self.delete_if(rejected).await;
        }
    }

    pub(super) async fn delete_if(&self, id: TokenId) {
        let Some(storage) = &self.storage else { return };
        if let Err(error) = self.bounded(delete_if(storage.as_ref(), &self.key, id)).await {
            tracing::warn!(service = self.provider.service_name(), %error, "a token could not be deleted");
        }
    }
}

async fn delete_if(
    storage: &dyn TokenStorage,
    key: &str,
    id: TokenId,
) -> std::result::Result<(), StorageError> {
    if let Some(comparing) = storage.compare_and_delete() {
        comparing.delete_if(key, id).await?;
    } else if storage.get(key).await?.is_some_and(|token| token.id() == id) {
        storage.delete(key).await?;
    }
    Ok(())
}
