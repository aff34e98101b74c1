//! The part of a caller: joins or begins flights until one of them meets the caller's goal.

use std::sync::Arc;

use forge_core::{AuthenticationError, AuthenticationErrorKind, Credential};

use super::goal::RenewalGoal;
use super::hook;
use super::renewal::{RenewalOutcome, RenewalResult, run_renewal};
use super::single_flight::Waiter;
use super::slot::Entry;
use super::{TokenManager, TokenProvenance};
use crate::rt::{self, Deadline};

/// How many flights of one caller may be lost with their runtimes.
const MAX_LOST_FLIGHTS: usize = 8;

impl TokenManager {
    /// Waits for a flight that meets the goal, and begins one unless one is under way.
    pub(super) async fn wait_for_token(
        &self,
        goal: RenewalGoal,
        deadline: Deadline,
    ) -> Result<(Arc<Credential>, TokenProvenance), AuthenticationError> {
        let obtained = self.wait_for_token_unless_paused(goal, deadline).await?;
        obtained.ok_or_else(|| {
            let error = self.0.error(AuthenticationErrorKind::Other);
            error.with_message("the token was rejected; recent renewals did not help, so renewing is paused")
        })
    }

    /// As [`wait_for_token`](Self::wait_for_token); `None`: the goal is to replace a rejected token, and renewals back
    /// off.
    pub(super) async fn wait_for_token_unless_paused(
        &self,
        goal: RenewalGoal,
        mut deadline: Deadline,
    ) -> Result<Option<(Arc<Credential>, TokenProvenance)>, AuthenticationError> {
        self.check_caller()?;
        let mut is_first_flight = true;
        let mut may_join_again = true;
        // Crash: a flight is lost with the runtime that carried it. The limit is for a caller on a runtime that is
        // shutting down, which would lose each flight.
        let mut lost = 0;
        while lost < MAX_LOST_FLIGHTS {
            let waiter = self.join_flight(goal)?;
            // Race: a flight that was begun for this caller may have called the provider by now, on another thread.
            let is_too_early = goal == RenewalGoal::NEW
                && is_first_flight
                && !waiter.is_first()
                && waiter.has_called_provider();
            is_first_flight = false;
            let outcome = deadline.bound(waiter.outcome()).await;
            if outcome.is_err() {
                // Hang: the flight has a shorter time-out of its own, so its runtime is no longer driven. The next
                // caller must not wait for it.
                self.0.single_flight.abandon(&waiter);
            }
            if is_too_early {
                // Race: the flight called the provider before this caller asked, so its token may lack rights that
                // were granted in between. The next flight begins after this caller asked, whichever caller starts
                // it, and gets a whole deadline.
                deadline = self.0.deadline();
                continue;
            }
            let Ok(outcome) = outcome else {
                return Err(self.0.error_without_cool_down(AuthenticationErrorKind::Timeout));
            };
            match self.judge_outcome(goal, &waiter, outcome) {
                OutcomeVerdict::Done(result) => return result,
                OutcomeVerdict::BackgroundFailure(_) if may_join_again => may_join_again = false,
                OutcomeVerdict::BackgroundFailure(error) => return Err(error),
                OutcomeVerdict::OtherGoal => {}
                OutcomeVerdict::Lost => lost += 1,
            }
        }
        let error = self.0.error_without_cool_down(AuthenticationErrorKind::Other);
        Err(error.with_message("the runtime that carried the fetch has ended, time and again"))
    }

    fn check_caller(&self) -> Result<(), AuthenticationError> {
        if hook::is_called_by_hook_of(self.0.address()) {
            let error = self.0.error_without_cool_down(AuthenticationErrorKind::Configuration);
            return Err(
                error.with_message("an on_refresh_token hook must not ask its own manager for a token")
            );
        }
        Ok(())
    }

    fn join_flight(&self, goal: RenewalGoal) -> Result<Waiter<RenewalResult>, AuthenticationError> {
        self.0.single_flight.join(goal, self.0.max_flight_duration(), |publisher| {
            rt::spawn(run_renewal(Arc::clone(&self.0), goal, publisher)).map_err(|_| self.0.no_runtime())
        })
    }

    /// Decides how a caller with this goal goes on after an outcome. `None`: the flight was lost with its runtime.
    fn judge_outcome(
        &self,
        goal: RenewalGoal,
        waiter: &Waiter<RenewalResult>,
        outcome: Option<&RenewalResult>,
    ) -> OutcomeVerdict {
        let done = |entry: &Entry, provenance| {
            let is_own = waiter.is_first() || provenance == TokenProvenance::Cached;
            let provenance = if is_own { provenance } else { TokenProvenance::Joined };
            OutcomeVerdict::Done(Ok(Some((Arc::clone(entry.credential()), provenance))))
        };
        match outcome {
            None => OutcomeVerdict::Lost,
            Some(Ok(RenewalOutcome::Fetched(entry))) => done(entry, TokenProvenance::Fetched),
            Some(Ok(RenewalOutcome::Refreshed(entry)))
                if goal != RenewalGoal::NEW || !self.0.provider.has_full_grant() =>
            {
                done(entry, TokenProvenance::Refreshed)
            }
            // Race: an API may have rejected the token, or a caller discarded it, after the flight found it.
            Some(Ok(RenewalOutcome::Adopted(entry)))
                if goal.accepts(entry.id()) && !self.0.slot.is_rejected(entry.id()) =>
            {
                done(entry, TokenProvenance::Cached)
            }
            Some(Ok(RenewalOutcome::RenewalPaused(rejected))) if goal.rejected() == Some(*rejected) => {
                OutcomeVerdict::Done(Ok(None))
            }
            Some(Ok(RenewalOutcome::CoolingDown(error))) if goal != RenewalGoal::NEW => {
                OutcomeVerdict::Done(Err(error.clone()))
            }
            Some(Ok(_)) => OutcomeVerdict::OtherGoal,
            Some(Err(error)) if !waiter.is_first() && waiter.is_background() => {
                OutcomeVerdict::BackgroundFailure(error.clone())
            }
            Some(Err(error)) => OutcomeVerdict::Done(Err(error.clone())),
        }
    }
}

enum OutcomeVerdict {
    Done(Result<Option<(Arc<Credential>, TokenProvenance)>, AuthenticationError>),
    /// The caller joined a background flight, which may have ended without trying the full grant. It joins another
    /// flight once.
    BackgroundFailure(AuthenticationError),
    /// The flight served another goal. The caller joins the next one.
    OtherGoal,
    /// The flight was lost with its runtime.
    Lost,
}
