//! One flight, from the look into the storage to the landing.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, ClockReading, StorageError, TokenData, TokenId,
    TokenStorage,
};

use super::Inner;
use super::catch_panic::{CaughtPanic, catch_panic};
use super::failures::CoolDownLimits;
use super::goal::RenewalGoal;
use super::keeping::{TokenToKeep, UnkeptToken};
use super::lease::LeaseWait;
use super::lookup::StorageLookup;
use super::renewal::RenewableToken;
use super::single_flight::FlightPublisher;
use super::slot::Entry;
use crate::rt::{self, Deadline};

/// How a flight ended without a failure of its own.
#[derive(Clone)]
pub(crate) enum RenewalOutcome {
    /// A new token by the full grant.
    Fetched(Arc<Entry>),
    /// A new token by a refresh token.
    Refreshed(Arc<Entry>),
    /// One that somebody else had put into slot or storage.
    Adopted(Arc<Entry>),
    /// This token was rejected, but renewals back off.
    RenewalPaused(TokenId),
    /// Nothing was tried: this went wrong lately.
    CoolingDown(AuthenticationError),
}

impl RenewalOutcome {
    fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Fetched(entry) | Self::Refreshed(entry) | Self::Adopted(entry) => Some(entry),
            Self::RenewalPaused(_) | Self::CoolingDown(_) => None,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, AuthenticationError>;

/// What the first part of a flight has led to, which the flight's deadline bounds.
enum Obtained {
    RenewalOutcome(RenewalOutcome),
    /// The issuer has given a token. It is still to be kept, and no deadline may lose it.
    New(Box<TokenToKeep>),
}

/// What is known of a flight besides its result.
struct Course {
    /// The storage could be asked, or what is at hand can be trusted without.
    is_answered: bool,
    /// What failed is another manager, which has said so.
    is_told: bool,
}

/// Runs in a task of its own. Whatever the provider does, it lands.
pub(crate) async fn run_renewal(
    manager: Arc<Inner>,
    goal: RenewalGoal,
    publisher: FlightPublisher<Result<RenewalOutcome>>,
) {
    let deadline = Deadline::after(manager.fetch_timeout());
    let mut course = Course { is_answered: true, is_told: false };
    // On the heap: otherwise each wrapping future would reserve space for this one twice.
    let obtaining = Box::pin(manager.wait_for_token(goal, &publisher, &mut course));
    let flown = deadline.bound(catch_panic(rt::within(deadline, obtaining))).await;
    let result = match flown {
        Ok(Ok(Ok(Obtained::RenewalOutcome(outcome)))) => Ok(outcome),
        Ok(Ok(Ok(Obtained::New(new)))) => {
            // A storage of the user's may panic. Without this the flight would be lost, and flown again.
            let kept = catch_panic(Box::pin(manager.keep_token(goal, *new, &publisher))).await;
            let kept = kept.unwrap_or_else(|CaughtPanic| {
                Err(manager.error_without_cool_down(AuthenticationErrorKind::Panicked))
            });
            manager.last_resort_or(goal, kept, &course)
        }
        Ok(Ok(Err(error))) => Err(error),
        Ok(Err(CaughtPanic)) => Err(manager.error_without_cool_down(AuthenticationErrorKind::Panicked)),
        Err(_) => Err(manager.error_without_cool_down(AuthenticationErrorKind::Timeout)),
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
    publisher.finish(result, |result| {
        // Crash: if this flight is lost before this line, the next one takes the token from `unkept`. So
        // clear it in the same step in which callers find the token.
        *manager.unkept.lock() = None;
        if let Some(entry) =
            result.as_ref().ok().and_then(RenewalOutcome::entry).filter(|entry| entry.is_for_all())
        {
            manager.slot.fill(entry);
        }
    });
}

impl Inner {
    async fn wait_for_token(
        &self,
        goal: RenewalGoal,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
        course: &mut Course,
    ) -> Result<Obtained> {
        let outcome = match self.find_or_renew(goal, publisher, course).await {
            Ok(Obtained::New(new)) => return Ok(Obtained::New(new)),
            Ok(Obtained::RenewalOutcome(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        };
        self.last_resort_or(goal, outcome, course).map(Obtained::RenewalOutcome)
    }

    /// After a failure, the token at hand, if the storage could not be asked either.
    fn last_resort_or(
        &self,
        goal: RenewalGoal,
        outcome: Result<RenewalOutcome>,
        course: &Course,
    ) -> Result<RenewalOutcome> {
        let is_failure = matches!(outcome, Err(_) | Ok(RenewalOutcome::CoolingDown(_)));
        match self.last_resort(goal).filter(|_| is_failure && !course.is_answered) {
            Some(entry) => Ok(RenewalOutcome::Adopted(entry)),
            None => outcome,
        }
    }

    async fn find_or_renew(
        &self,
        goal: RenewalGoal,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
        course: &mut Course,
    ) -> Result<Obtained> {
        let done = |outcome| Ok(Obtained::RenewalOutcome(outcome));
        // Between a caller's miss and this flight another one may have landed.
        if goal != RenewalGoal::Recheck
            && let Some(entry) = self.slot.hit(self.clock.now(), |_| ()).and_then(|hit| hit.clone())
            && goal.accepts(entry.credential().id())
        {
            return done(RenewalOutcome::Adopted(entry));
        }
        // Crash: an earlier flight got this token and was lost with its runtime before it kept the token.
        let unkept = self.unkept.lock().take();
        if let Some(UnkeptToken { renewed, begun }) = unkept.map(|unkept| *unkept) {
            let (stored, guard) = (self.slot.stored(), self.unacquired_lease());
            return Ok(Obtained::New(Box::new(TokenToKeep { renewed, known: None, begun, stored, guard })));
        }
        let mut stored = match self.look_up_in_storage(goal).await {
            StorageLookup::Usable(entry) => return done(self.adopted(entry)),
            StorageLookup::LocalOnly(entry, instead) => {
                let guard = self.unacquired_lease();
                return done(RenewalOutcome::Adopted(
                    self.offer_to_storage(entry, instead, guard, publisher).await,
                ));
            }
            StorageLookup::NotUsable(stored) => stored,
            StorageLookup::Unavailable => {
                course.is_answered = false;
                None
            }
        };
        if let Some(error) = self.cooling_down(goal).await {
            return done(RenewalOutcome::CoolingDown(error));
        }
        if let Some(rejected) = goal.rejected()
            && !self.may_renew(rejected)
        {
            return done(RenewalOutcome::RenewalPaused(rejected));
        }
        let mut guard = match self.acquire_lease(goal).await {
            LeaseWait::Ended(guard) => guard,
            LeaseWait::TokenFound(entry) => return done(self.adopted(entry)),
            LeaseWait::CoolingDown(error) => return done(RenewalOutcome::CoolingDown(error)),
        };
        if guard.is_held() {
            stored = match self.look_up_under_lease(goal, &mut guard).await {
                StorageLookup::Usable(entry) => return done(self.adopted(entry)),
                StorageLookup::LocalOnly(entry, instead) => {
                    return done(RenewalOutcome::Adopted(
                        self.offer_to_storage(entry, instead, guard, publisher).await,
                    ));
                }
                StorageLookup::NotUsable(stored) => stored,
                StorageLookup::Unavailable => None,
            };
        }

        // If the storage could not say what it has, it still has what it had.
        let stored_id = stored.as_ref().map(TokenData::id).or_else(|| self.slot.stored());
        let known = self.known(stored);
        if let Some(rejected) = goal.rejected() {
            self.delete_rejected_from_storage(rejected, known.as_ref()).await;
        }
        // From here the life counts: what happens to a clock during the call must not stretch it.
        let begun = self.clock.now();
        self.slot.count_renewal(begun);
        match self.renew(goal, known.as_ref(), &mut guard, publisher).await {
            Ok(renewed) => {
                let renewed = Arc::new(renewed);
                Ok(Obtained::New(Box::new(TokenToKeep { renewed, known, begun, stored: stored_id, guard })))
            }
            Err(error) => {
                course.is_told = error.cool_down().is_some();
                let until = self.record_failure(&error);
                self.share_failure(guard, &error, until).await;
                Err(self.with_cool_down_until(error, until))
            }
        }
    }

    /// Somebody else has brought this, so what we have met with is over.
    fn adopted(&self, entry: Arc<Entry>) -> RenewalOutcome {
        let is_news =
            self.slot.entry().is_none_or(|cached| cached.credential().id() != entry.credential().id());
        if is_news {
            self.failures.lock().forget();
            let given = entry.credential().token().refresh_token().map(TokenId::of);
            self.refresh_history.lock().succeed(None, given);
        }
        RenewalOutcome::Adopted(entry)
    }

    /// The token that may be renewed instead of a full grant.
    fn known(&self, stored: Option<TokenData>) -> Option<RenewableToken> {
        let known = |entry: Arc<Entry>| RenewableToken {
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
        let cached = || {
            let newest = || self.slot.entry().filter(|entry| !is_older(entry.credential().token()));
            if fell_back { newest() } else { self.slot.refreshable() }.map(known)
        };
        let stored = || stored.map(|token| RenewableToken { token, is_shared: true, is_in_doubt: fell_back });
        let unstored = unstored.map(known);
        if fell_back {
            unstored.or_else(cached).or_else(stored)
        } else {
            unstored.or_else(stored).or_else(cached)
        }
    }

    /// What went wrong last, while the cool-down of that lasts. Who asks for a fetch expressly gets one,
    /// and so does a provider that was refused and has other credentials now.
    async fn cooling_down(&self, goal: RenewalGoal) -> Option<AuthenticationError> {
        let now = self.clock.now();
        let error = self
            .failures
            .lock()
            .cooling_down(self.cool_down_limits(), now)
            .filter(|_| goal != RenewalGoal::NEW)?;
        let is_over = error.is_permanent()
            && self.provider.has_new_credentials().await
            && self.failures.lock().bypass(self.cool_down_limits(), now);
        (!is_over).then_some(error)
    }

    /// Begins a cool-down. None for settings: who mends a secret's file is not kept waiting; and none for a
    /// panic. Returns until when it lasts, in monotonic milliseconds.
    pub(super) fn record_failure(&self, error: &AuthenticationError) -> i64 {
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
        CoolDownLimits { token_lasts: self.usable_time_left(), max_retry_after: self.max_retry_after }
    }

    /// How long callers can go on with the token at hand; `None`: they cannot. A token that an API has
    /// rejected, or that may have been invalidated elsewhere, serves nobody.
    pub(super) fn usable_time_left(&self) -> Option<Duration> {
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
    async fn delete_rejected_from_storage(&self, rejected: TokenId, known: Option<&RenewableToken>) {
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
