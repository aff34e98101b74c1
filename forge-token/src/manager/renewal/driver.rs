//! Performs the actions that the state machine of a renewal asks for.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind, ClockReading, TokenData, TokenId};

use super::super::Inner;
use super::super::catch_panic::{CaughtPanic, catch_panic};
use super::super::goal::RenewalGoal;
use super::super::lookup::StorageLookup;
use super::super::single_flight::FlightPublisher;
use super::super::slot::Entry;
use super::action::{Action, CoolDownAnswer, Ending, GrantKind, Input, RenewalFacts, StorageAnswer};
use super::candidate::RefreshCandidate;
use super::lease::LeaseGuard;
use super::machine::RenewalMachine;
use crate::rt::{self, Deadline};

/// How a renewal ended without a failure of its own.
#[derive(Clone)]
pub(crate) enum RenewalOutcome {
    /// A new token by the full grant.
    Fetched(Arc<Entry>),
    /// A new token by a refresh token.
    Refreshed(Arc<Entry>),
    /// A token that another flight or another process had put into slot or storage.
    Adopted(Arc<Entry>),
    /// This token was rejected, but renewals back off.
    RenewalPaused(TokenId),
    /// Nothing was tried, because the cool-down of this earlier failure lasts.
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

pub(crate) type RenewalResult = Result<RenewalOutcome, AuthenticationError>;

/// A token that the issuer has issued and that may not be stored or handed out yet.
pub(crate) struct IssuedToken {
    pub(super) token: TokenData,
    pub(super) kind: GrantKind,
    /// When the call began. The lifetime counts from there, so that setting the clock during the call cannot
    /// prolong it.
    pub(super) begun: ClockReading,
}

/// The task of one renewal. All waiting callers get a result, even if the provider panics or hangs.
pub(crate) async fn run_renewal(
    manager: Arc<Inner>,
    goal: RenewalGoal,
    publisher: FlightPublisher<RenewalResult>,
) {
    let mut driver = Driver::new(manager, goal, publisher);
    let ending = driver.run().await;
    driver.release_lease().await;
    let result = driver.result_of(ending);
    if let Err(error) = &result {
        driver.log_failure(error);
    }
    driver.publish(result);
}

/// The data of one renewal: tokens, lease and errors. The machine only knows facts about them.
pub(super) struct Driver {
    // Order: fields are dropped in this order. If the flight is lost, the lease is free before callers learn of it.
    pub(super) lease: LeaseGuard,
    pub(super) publisher: FlightPublisher<RenewalResult>,
    pub(super) manager: Arc<Inner>,
    pub(super) goal: RenewalGoal,
    /// When to go on without the lease; `None`: this renewal has not asked for it.
    pub(super) lease_deadline: Option<Deadline>,
    /// The storage's token when it was read last.
    pub(super) stored: Option<TokenData>,
    /// The identity of the token that the storage has, as far as the manager knows, when the call begins.
    pub(super) stored_id: Option<TokenId>,
    /// The token that a refresh can renew.
    pub(super) candidate: Option<RefreshCandidate>,
    /// When the renewal's calls of the provider began; `None`: not yet.
    pub(super) begun: Option<ClockReading>,
    pub(super) issued: Option<Arc<IssuedToken>>,
    /// The token with which the renewal ends.
    pub(super) entry: Option<Arc<Entry>>,
    /// The last failure.
    pub(super) error: Option<AuthenticationError>,
    /// When the cool-down of the failure ends, in monotonic milliseconds.
    pub(super) cool_down_until: i64,
    /// How long the call of the process that marked the refresh token may still take.
    pub(super) foreign_call_left: Duration,
    /// Whether another manager has failed, and has logged its failure.
    pub(super) is_foreign_failure: bool,
}

impl Driver {
    fn new(manager: Arc<Inner>, goal: RenewalGoal, publisher: FlightPublisher<RenewalResult>) -> Self {
        Self {
            lease: LeaseGuard::default(),
            publisher,
            manager,
            goal,
            lease_deadline: None,
            stored: None,
            stored_id: None,
            candidate: None,
            begun: None,
            issued: None,
            entry: None,
            error: None,
            cool_down_until: 0,
            foreign_call_left: Duration::ZERO,
            is_foreign_failure: false,
        }
    }

    async fn run(&mut self) -> Ending {
        let deadline = Deadline::after(self.manager.fetch_timeout());
        let mut machine = RenewalMachine::new(self.goal, self.manager.refresh_when_contested);
        let first = machine.start();
        // On the heap: otherwise each wrapping future would reserve space for this one twice.
        let driving = Box::pin(self.drive(&mut machine, first));
        let driven = deadline.bound(catch_panic(rt::with_flight_deadline(deadline, driving))).await;
        let mut action = match driven {
            Ok(Ok(action)) => action,
            Ok(Err(CaughtPanic)) => machine.step(Input::Panicked),
            Err(_) => machine.step(Input::TimedOut),
        };
        loop {
            if let Action::Finish(ending) = action {
                return ending;
            }
            // A user's storage may panic. Without this the flight would be lost, and its callers would begin another.
            let performed = catch_panic(Box::pin(self.perform(action))).await;
            action = machine.step(performed.unwrap_or(Input::Panicked));
        }
    }

    /// Performs the machine's actions. Returns the first one that the flight's deadline does not bound.
    async fn drive(&mut self, machine: &mut RenewalMachine, mut action: Action) -> Action {
        while action.is_bounded() {
            action = machine.step(self.perform(action).await);
        }
        action
    }

    async fn perform(&mut self, action: Action) -> Input {
        match action {
            Action::CheckSlot => self.check_slot(),
            Action::RecoverUnkeptToken => self.recover_unkept_token(),
            Action::ReadStorage => {
                let lookup = self.manager.look_up_in_storage(self.goal).await;
                self.take_lookup(lookup)
            }
            Action::OfferToStorage => self.offer_to_storage().await,
            Action::CheckCoolDown => self.check_cool_down(),
            Action::CheckNewCredentials => self.check_new_credentials().await,
            Action::RejectCachedToken(rejected) => {
                Input::RenewalPermitted(self.manager.slot.reject(rejected, self.manager.clock.now()))
            }
            Action::CheckLease => self.check_lease(),
            Action::AcquireLease(policy) => self.acquire_lease(policy).await,
            Action::ReadStorageWhileWaiting => self.read_storage_while_waiting().await,
            Action::ReadStorageUnderLease => self.read_storage_under_lease().await,
            Action::SelectCandidate => self.select_candidate(),
            Action::DeleteRejectedToken(rejected) => {
                self.manager.delete_if(rejected).await;
                Input::Done
            }
            Action::BeginRenewal => self.begin_renewal(),
            Action::MarkRefreshToken(takeover) => self.mark_refresh_token(takeover).await,
            Action::CallRefresh => self.call_refresh().await,
            Action::ClearMark => self.clear_mark().await,
            Action::AssessFallback => self.assess_fallback(),
            Action::CallFullGrant(obstacle) => self.call_full_grant(obstacle).await,
            Action::RecordFullGrantRefusal => self.record_full_grant_refusal(),
            Action::RecordFailure(failure) => self.record_failure(failure),
            Action::ShareFailure => self.share_failure().await,
            Action::KeepToken(_) => self.keep_token().await,
            Action::FindStandIn(_) => self.find_stand_in(),
            Action::Finish(_) => Input::Done,
        }
    }

    fn check_slot(&mut self) -> Input {
        self.entry = self.manager.slot.hit(self.manager.clock.now(), |_| ()).and_then(|hit| hit.clone());
        Input::SlotHit(self.entry.as_ref().map(|entry| entry.id()))
    }

    /// Crash: an earlier flight got this token and was lost with its runtime before it kept the token.
    fn recover_unkept_token(&mut self) -> Input {
        self.issued = self.manager.unkept.lock().take();
        let Some(issued) = &self.issued else { return Input::UnkeptToken(None) };
        self.stored_id = self.manager.slot.stored();
        self.lease = self.manager.unacquired_lease();
        Input::UnkeptToken(Some(issued.kind))
    }

    pub(super) fn take_lookup(&mut self, lookup: StorageLookup) -> Input {
        Input::Storage(match lookup {
            StorageLookup::Usable(entry) => {
                self.manager.note_adoption(&entry);
                self.entry = Some(entry);
                StorageAnswer::Usable
            }
            StorageLookup::LocalOnly(entry, stored) => {
                self.entry = Some(entry);
                self.stored = stored;
                StorageAnswer::LocalOnly
            }
            StorageLookup::NotUsable(stored) => {
                self.stored = stored;
                StorageAnswer::NotUsable
            }
            StorageLookup::Unavailable => {
                self.stored = None;
                StorageAnswer::Unavailable
            }
        })
    }

    fn check_cool_down(&mut self) -> Input {
        self.error = self.manager.cooling_down();
        Input::CoolDown(match &self.error {
            None => CoolDownAnswer::NotActive,
            Some(error) if error.is_permanent() => CoolDownAnswer::AfterPermanentFailure,
            Some(_) => CoolDownAnswer::AfterOtherFailure,
        })
    }

    async fn check_new_credentials(&mut self) -> Input {
        let has_new = self.manager.provider.has_new_secrets().await && self.manager.bypass_cool_down();
        if has_new {
            self.error = None;
        }
        Input::NewCredentials(has_new)
    }

    fn select_candidate(&mut self) -> Input {
        let manager = Arc::clone(&self.manager);
        // If the storage did not answer, it still has the token that it had.
        self.stored_id = self.stored.as_ref().map(TokenData::id).or_else(|| manager.slot.stored());
        self.candidate = manager.select_candidate(self.stored.take());
        Input::Candidate(self.candidate.as_ref().map(RefreshCandidate::facts))
    }

    fn begin_renewal(&mut self) -> Input {
        let manager = &self.manager;
        let begun = manager.clock.now();
        self.begun = Some(begun);
        manager.slot.count_renewal(begun);
        let refresh_token = self.candidate.as_ref().and_then(RefreshCandidate::refresh_token_id);
        let history = manager.refresh_history.lock();
        let is_full_grant_refused = refresh_token.is_some_and(|id| history.is_full_grant_refused(id));
        let may_be_used_up = refresh_token.is_some_and(|id| history.is_in_doubt(id));
        drop(history);
        Input::Begun(RenewalFacts {
            has_full_grant: manager.provider.has_full_grant(),
            is_in_doubt: may_be_used_up
                || self.candidate.as_ref().is_some_and(|candidate| candidate.is_in_doubt),
            is_full_grant_refused,
            has_usable_token: manager.usable_time_left().is_some(),
        })
    }

    /// While neither storage nor token endpoint can be asked, a cached token that is valid as far as the manager
    /// knows is better than no token.
    fn find_stand_in(&mut self) -> Input {
        self.entry = self.manager.stand_in(self.goal);
        Input::StandIn(self.entry.is_some())
    }

    /// Order: before callers learn the result. The next renewal may need the lease.
    async fn release_lease(&mut self) {
        // Panic: the lease is a user's code, and its drop may panic. The result is there already, so callers get it.
        if catch_panic(async { self.lease.release() }).await.is_err() {
            let service = self.manager.provider.service_name();
            tracing::warn!(service, "the storage's lease panicked when it was released");
        }
    }

    fn result_of(&mut self, ending: Ending) -> RenewalResult {
        let manager = &self.manager;
        let failed = |kind| Err(manager.error_without_cool_down(kind));
        match (ending, self.entry.take(), self.error.take()) {
            (Ending::Adopted, Some(entry), _) => Ok(RenewalOutcome::Adopted(entry)),
            (Ending::Issued(GrantKind::Full), Some(entry), _) => Ok(RenewalOutcome::Fetched(entry)),
            (Ending::Issued(GrantKind::Refresh), Some(entry), _) => Ok(RenewalOutcome::Refreshed(entry)),
            (Ending::RenewalPaused(rejected), ..) => Ok(RenewalOutcome::RenewalPaused(rejected)),
            (Ending::CoolingDown, _, Some(error)) => Ok(RenewalOutcome::CoolingDown(error)),
            (Ending::Failed, _, Some(error)) => Err(error),
            (Ending::TimedOut, ..) => failed(AuthenticationErrorKind::Timeout),
            (Ending::Panicked, ..) => failed(AuthenticationErrorKind::Panicked),
            _ => {
                let error = manager.error_without_cool_down(AuthenticationErrorKind::Other);
                Err(error.with_message("internal error: the renewal ended without a result"))
            }
        }
    }

    fn log_failure(&self, error: &AuthenticationError) {
        let service = self.manager.provider.service_name();
        let outcome = if self.goal.is_in_background() { "the cached token stays in use" } else { "no token" };
        let next_attempt_in = error.cool_down().unwrap_or_default();
        let asked_for = error.retry_after().unwrap_or_default();
        if self.is_foreign_failure {
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

    fn publish(self, result: RenewalResult) {
        let manager = self.manager;
        self.publisher.finish(result, |result| {
            // Crash: if this flight is lost before this line, the next one takes the token from `unkept`. So
            // clear it in the same step in which callers find the token.
            *manager.unkept.lock() = None;
            let entry = result.as_ref().ok().and_then(RenewalOutcome::entry);
            if let Some(entry) = entry.filter(|entry| entry.is_for_all()) {
                manager.slot.fill(entry);
            }
        });
    }
}
