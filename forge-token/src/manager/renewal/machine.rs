//! Decides about the next step of a renewal: a state machine without I/O, clock, lock or log.
//!
//! The state is the action whose answer is awaited, and the few facts that later decisions need.

use forge_core::{CoolDownPolicy, MarkTakeover};

use super::super::goal::RenewalGoal;
use super::super::refresh_history::RefreshTokenState;
use super::action::{
    Action, CandidateFacts, CoolDownAnswer, Ending, Failure, GrantKind, Input, LeaseAnswer, MarkAnswer,
    RefreshObstacle, RenewalFacts, StorageAnswer,
};

/// The state machine of one renewal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RenewalMachine {
    goal: RenewalGoal,
    /// The setting [`refresh_when_contested`](crate::TokenManagerBuilder::refresh_when_contested).
    refresh_when_contested: bool,
    /// Whether the storage did not answer the first look.
    is_storage_unavailable: bool,
    candidate: Option<CandidateFacts>,
    facts: RenewalFacts,
    /// Why the refresh token was not sent.
    obstacle: Option<RefreshObstacle>,
    /// The outcome of the refresh call, once that has failed.
    failed_refresh: Option<FailedRefresh>,
    /// The action whose answer is awaited.
    pending: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FailedRefresh {
    state: RefreshTokenState,
    is_repeated_doubt: bool,
}

impl RenewalMachine {
    pub(crate) fn new(goal: RenewalGoal, refresh_when_contested: bool) -> Self {
        // A recheck compares the cached token with the storage's, so a hit in the slot does not end it.
        let first = if goal == RenewalGoal::Recheck { Action::RecoverUnkeptToken } else { Action::CheckSlot };
        Self {
            goal,
            refresh_when_contested,
            is_storage_unavailable: false,
            candidate: None,
            facts: RenewalFacts {
                has_full_grant: true,
                is_in_doubt: false,
                is_full_grant_refused: false,
                has_usable_token: false,
            },
            obstacle: None,
            failed_refresh: None,
            pending: first,
        }
    }

    /// The first action.
    pub(crate) fn start(&self) -> Action {
        self.pending
    }

    /// Takes the answer to the last action. Returns the next one.
    pub(crate) fn step(&mut self, input: Input) -> Action {
        self.pending = self.next_action(input);
        self.pending
    }

    fn next_action(&mut self, input: Input) -> Action {
        match (self.pending, input) {
            (Action::Finish(ending), _) => Action::Finish(ending),
            (_, Input::TimedOut) => Action::Finish(Ending::TimedOut),
            (_, Input::Panicked) => self.after_panic(),
            _ => {
                let next = self.next_of_search(input).or_else(|| self.next_of_renewal(input));
                next.unwrap_or(Action::Finish(Ending::UnexpectedInput))
            }
        }
    }

    /// First half: looks for a token that another flight or process has brought, and waits for the lease.
    fn next_of_search(&mut self, input: Input) -> Option<Action> {
        Some(match (self.pending, input) {
            (Action::CheckSlot, Input::SlotHit(hit)) => {
                // Race: between a caller's miss and the start of this flight another flight may have filled the slot.
                let is_accepted = hit.is_some_and(|hit| self.goal.accepts(hit));
                if is_accepted { Action::Finish(Ending::Adopted) } else { Action::RecoverUnkeptToken }
            }
            (Action::RecoverUnkeptToken, Input::UnkeptToken(unkept)) => {
                unkept.map_or(Action::ReadStorage, Action::KeepToken)
            }
            (Action::ReadStorage, Input::Storage(answer)) => self.after_first_look(answer),
            (Action::OfferToStorage, Input::Done) => Action::Finish(Ending::Adopted),
            (Action::CheckCoolDown, Input::CoolDown(answer)) => self.after_cool_down(answer),
            (Action::CheckNewCredentials, Input::NewCredentials(true)) => self.before_lease(),
            (Action::CheckNewCredentials, Input::NewCredentials(false)) => {
                self.fail_with(Ending::CoolingDown)
            }
            (Action::RejectCachedToken(_), Input::RenewalPermitted(true)) => Action::CheckLease,
            (Action::RejectCachedToken(rejected), Input::RenewalPermitted(false)) => {
                Action::Finish(Ending::RenewalPaused(rejected))
            }
            (Action::CheckLease, Input::LeaseTerms { has_leases, has_waited_for_others }) => {
                self.request_lease(has_leases, has_waited_for_others)
            }
            (Action::AcquireLease(_), Input::Lease(answer)) => self.after_lease(answer),
            (Action::ReadStorageWhileWaiting, Input::Storage(answer)) => match answer {
                StorageAnswer::Usable => Action::Finish(Ending::Adopted),
                // The look that follows the lease decides about anything else.
                _ => Action::CheckLease,
            },
            (Action::ReadStorageUnderLease, Input::Storage(answer)) => match answer {
                StorageAnswer::Usable => Action::Finish(Ending::Adopted),
                StorageAnswer::LocalOnly => Action::OfferToStorage,
                StorageAnswer::NotUsable | StorageAnswer::Unavailable => Action::SelectCandidate,
            },
            _ => return None,
        })
    }

    /// Second half: refreshes, or fetches by the full grant, and keeps the new token.
    fn next_of_renewal(&mut self, input: Input) -> Option<Action> {
        Some(match (self.pending, input) {
            (Action::SelectCandidate, Input::Candidate(candidate)) => self.after_selection(candidate),
            (Action::DeleteRejectedToken(_), Input::Done) => Action::BeginRenewal,
            (Action::BeginRenewal, Input::Begun(facts)) => {
                self.facts = facts;
                self.refresh_or_full_grant()
            }
            (Action::MarkRefreshToken(takeover), Input::Mark(answer)) => self.after_mark(takeover, answer),
            (Action::CallRefresh, Input::TokenIssued) => Action::KeepToken(GrantKind::Refresh),
            (Action::CallRefresh, Input::RefreshFailed { state, is_repeated_doubt }) => {
                self.after_failed_refresh(FailedRefresh { state, is_repeated_doubt })
            }
            (Action::ClearMark, Input::Done) => self.decide_after_failed_refresh(),
            (Action::AssessFallback, Input::Fallback { is_first_retry_after, has_usable_token }) => {
                if is_first_retry_after || (self.goal.is_in_background() && has_usable_token) {
                    Action::RecordFailure(Failure::Refresh { needs_login: false })
                } else {
                    Action::CallFullGrant(None)
                }
            }
            (Action::CallFullGrant(_), Input::TokenIssued) => Action::KeepToken(GrantKind::Full),
            (Action::CallFullGrant(_), Input::FullGrantFailed { state, is_grant_refused }) => {
                self.after_failed_full_grant(state, is_grant_refused)
            }
            (Action::RecordFullGrantRefusal, Input::Done) => {
                // Only a manager with a full grant has an obstacle here, so this error cannot need a login.
                Action::RecordFailure(Failure::FullGrant { needs_login: false, is_refresh: true })
            }
            (Action::RecordFailure(_), Input::Done) => Action::ShareFailure,
            (Action::ShareFailure, Input::Done) | (Action::KeepToken(_), Input::NotKept) => {
                self.fail_with(Ending::Failed)
            }
            (Action::KeepToken(kind), Input::Done) => Action::Finish(Ending::Issued(kind)),
            (Action::FindStandIn(ending), Input::StandIn(is_found)) => {
                Action::Finish(if is_found { Ending::Adopted } else { ending })
            }
            _ => return None,
        })
    }

    /// A failure of the renewal. While the storage does not answer, a cached token may be used instead.
    fn fail_with(&self, ending: Ending) -> Action {
        if self.is_storage_unavailable { Action::FindStandIn(ending) } else { Action::Finish(ending) }
    }

    fn after_panic(&self) -> Action {
        match self.pending {
            Action::KeepToken(_) => self.fail_with(Ending::Panicked),
            _ => Action::Finish(Ending::Panicked),
        }
    }

    fn after_first_look(&mut self, answer: StorageAnswer) -> Action {
        match answer {
            StorageAnswer::Usable => return Action::Finish(Ending::Adopted),
            StorageAnswer::LocalOnly => return Action::OfferToStorage,
            StorageAnswer::NotUsable => {}
            StorageAnswer::Unavailable => self.is_storage_unavailable = true,
        }
        // A caller of `force_refresh` gets a fetch in spite of a cool-down.
        if self.goal == RenewalGoal::NEW { self.before_lease() } else { Action::CheckCoolDown }
    }

    fn after_cool_down(&self, answer: CoolDownAnswer) -> Action {
        match answer {
            CoolDownAnswer::NotActive => self.before_lease(),
            CoolDownAnswer::AfterPermanentFailure => Action::CheckNewCredentials,
            CoolDownAnswer::AfterOtherFailure => self.fail_with(Ending::CoolingDown),
        }
    }

    fn before_lease(&self) -> Action {
        self.goal.rejected().map_or(Action::CheckLease, Action::RejectCachedToken)
    }

    fn request_lease(&self, has_leases: bool, has_waited_for_others: bool) -> Action {
        if !has_leases {
            return Action::SelectCandidate;
        }
        let ignores_cool_downs = self.goal == RenewalGoal::NEW || has_waited_for_others;
        let policy = if ignores_cool_downs { CoolDownPolicy::Ignore } else { CoolDownPolicy::Respect };
        Action::AcquireLease(policy)
    }

    fn after_lease(&self, answer: LeaseAnswer) -> Action {
        match answer {
            // The former holder has probably stored a token.
            LeaseAnswer::Held => Action::ReadStorageUnderLease,
            LeaseAnswer::CoolingDown => self.fail_with(Ending::CoolingDown),
            LeaseAnswer::StorageChanged => Action::ReadStorageWhileWaiting,
            // One fetch too many is better than none.
            LeaseAnswer::Unavailable => Action::SelectCandidate,
        }
    }

    fn after_selection(&mut self, candidate: Option<CandidateFacts>) -> Action {
        self.candidate = candidate;
        let Some(rejected) = self.goal.rejected() else { return Action::BeginRenewal };
        // Deleting the record would lose its refresh token, so one that can be refreshed stays until it is
        // replaced.
        let is_refreshable =
            candidate.is_some_and(|candidate| candidate.id == rejected && candidate.has_refresh_token);
        if is_refreshable { Action::BeginRenewal } else { Action::DeleteRejectedToken(rejected) }
    }

    /// By the refresh token if it may be sent (invariant 25): not while there is another way to a token, if this
    /// manager or another one may have used it up.
    fn refresh_or_full_grant(&mut self) -> Action {
        let candidate = self.candidate.filter(|candidate| candidate.has_refresh_token);
        let wants_full_grant = self.goal == RenewalGoal::NEW && self.facts.has_full_grant;
        let Some(candidate) = candidate.filter(|_| !wants_full_grant) else {
            return Action::CallFullGrant(None);
        };
        if self.facts.is_in_doubt && !self.is_last_way() && !self.refresh_when_contested {
            return self.give_up_refresh(RefreshObstacle::InDoubt);
        }
        if !candidate.is_shared {
            return Action::CallRefresh;
        }
        let takeover = if self.refresh_when_contested { MarkTakeover::Once } else { MarkTakeover::Never };
        Action::MarkRefreshToken(takeover)
    }

    /// Whether the refresh token is the last way to a token, and callers need one now.
    fn is_last_way(&self) -> bool {
        let has_other_way = self.facts.has_full_grant && !self.facts.is_full_grant_refused;
        let can_wait = self.goal.is_in_background() && self.facts.has_usable_token;
        !has_other_way && !can_wait
    }

    fn after_mark(&mut self, takeover: MarkTakeover, answer: MarkAnswer) -> Action {
        match answer {
            MarkAnswer::NotSupported | MarkAnswer::Ours => Action::CallRefresh,
            MarkAnswer::Foreign { may_be_in_progress }
                if takeover != MarkTakeover::Always && self.is_last_way() =>
            {
                if may_be_in_progress {
                    return self.give_up_refresh(RefreshObstacle::CallInProgress);
                }
                Action::MarkRefreshToken(MarkTakeover::Always)
            }
            // With `refresh_when_contested`, an earlier renewal has taken over this mark.
            MarkAnswer::Foreign { .. } => self.give_up_refresh(RefreshObstacle::ForeignMark),
            MarkAnswer::NotMarked if self.refresh_when_contested => Action::CallRefresh,
            MarkAnswer::NotMarked => self.give_up_refresh(RefreshObstacle::NotMarked),
        }
    }

    fn give_up_refresh(&mut self, obstacle: RefreshObstacle) -> Action {
        if !self.facts.has_full_grant {
            return Action::RecordFailure(Failure::NotSent(obstacle));
        }
        self.obstacle = Some(obstacle);
        Action::CallFullGrant(Some(obstacle))
    }

    fn after_failed_refresh(&mut self, failed: FailedRefresh) -> Action {
        self.failed_refresh = Some(failed);
        match failed.state {
            RefreshTokenState::Unused | RefreshTokenState::Refused => Action::ClearMark,
            RefreshTokenState::Dead | RefreshTokenState::InDoubt => self.decide_after_failed_refresh(),
        }
    }

    /// The table "After a call with a refresh token" of ARCHITECTURE.md (invariant 23).
    fn decide_after_failed_refresh(&self) -> Action {
        use RefreshTokenState::{Dead, InDoubt, Refused, Unused};

        let Some(FailedRefresh { state, is_repeated_doubt }) = self.failed_refresh else {
            return Action::Finish(Ending::UnexpectedInput);
        };
        match state {
            _ if !self.facts.has_full_grant => {
                let needs_login = state == Dead || (state == InDoubt && is_repeated_doubt);
                Action::RecordFailure(Failure::Refresh { needs_login })
            }
            Dead | Refused => Action::CallFullGrant(None),
            Unused | InDoubt => Action::AssessFallback,
        }
    }

    fn after_failed_full_grant(&self, state: RefreshTokenState, is_grant_refused: bool) -> Action {
        let is_refresh = self.obstacle.is_some();
        if is_refresh && is_grant_refused {
            // From now on the refresh token is the last way to a token, even though it may have been used.
            return Action::RecordFullGrantRefusal;
        }
        // After a restart a provider without a full grant sends a refresh token that its user has persisted.
        let needs_login = state == RefreshTokenState::Dead && !self.facts.has_full_grant;
        Action::RecordFailure(Failure::FullGrant { needs_login, is_refresh })
    }
}
