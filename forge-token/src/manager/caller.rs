//! A caller's part: joins or begins flights until one of them serves its goal.

use std::sync::Arc;

use forge_core::{AuthenticationError, AuthenticationErrorKind, Credential};

use super::goal::RenewalGoal;
use super::hook;
use super::renewal::{RenewalOutcome, run_renewal};
use super::slot::Entry;
use super::{TokenManager, TokenProvenance};
use crate::rt::{self, Deadline};

/// How many flights of one caller may be lost with their runtimes.
const MAX_LOST_FLIGHTS: usize = 8;

impl TokenManager {
    /// A credential from a flight that serves the goal, begun here unless one is under way.
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

    pub(super) async fn wait_for_token_unless_paused(
        &self,
        goal: RenewalGoal,
        mut deadline: Deadline,
    ) -> Result<Option<(Arc<Credential>, TokenProvenance)>, AuthenticationError> {
        if hook::is_called_by_hook_of(self.0.address()) {
            let error = self.0.error_without_cool_down(AuthenticationErrorKind::Configuration);
            return Err(
                error.with_message("an on_refresh_token hook must not ask its own manager for a token")
            );
        }
        let accepts_refreshed = goal != RenewalGoal::NEW || !self.0.provider.has_full_grant();
        let mut is_first_look = true;
        let mut may_fly_again = true;
        // A flight is lost with the runtime that carried it. Ours may be that one, on its way down,
        // hence the bound.
        let mut lost = 0;
        while lost < MAX_LOST_FLIGHTS {
            let waiter = self.0.single_flight.join(goal, self.0.max_flight_duration(), |publisher| {
                rt::spawn(run_renewal(Arc::clone(&self.0), goal, publisher)).map_err(|_| self.0.no_runtime())
            })?;
            // A flight that was begun here may have called by now, on another thread.
            let began_before = goal == RenewalGoal::NEW
                && is_first_look
                && !waiter.is_first()
                && waiter.has_called_provider();
            is_first_look = false;
            let outcome = deadline.bound(waiter.outcome()).await;
            if outcome.is_err() {
                // The flight has a shorter time-out of its own: its runtime is no longer driven. The
                // next caller must not wait for it.
                self.0.single_flight.abandon(&waiter);
            }
            if began_before {
                // The flight called the provider before this caller asked, so its token may lack rights that
                // were granted in between. The next flight begins after this caller asked, whoever starts it,
                // and gets a whole deadline.
                deadline = self.0.deadline();
                continue;
            }
            let Ok(outcome) = outcome else {
                return Err(self.0.error_without_cool_down(AuthenticationErrorKind::Timeout));
            };
            let brought = |entry: &Entry, origin| {
                let is_own_flight = waiter.is_first() || origin == TokenProvenance::Cached;
                let origin = if is_own_flight { origin } else { TokenProvenance::Joined };
                Ok(Some((Arc::clone(entry.credential()), origin)))
            };
            match outcome {
                Some(Ok(RenewalOutcome::Fetched(entry))) => return brought(entry, TokenProvenance::Fetched),
                Some(Ok(RenewalOutcome::Refreshed(entry))) if accepts_refreshed => {
                    return brought(entry, TokenProvenance::Refreshed);
                }
                // Race: an API may have rejected the token, or a caller discarded it, after the flight found
                // it.
                Some(Ok(RenewalOutcome::Adopted(entry)))
                    if goal.accepts(entry.credential().id())
                        && !self.0.slot.is_rejected(entry.credential().id()) =>
                {
                    return brought(entry, TokenProvenance::Cached);
                }
                Some(Ok(RenewalOutcome::RenewalPaused(other))) if goal.rejected() == Some(*other) => {
                    return Ok(None);
                }
                Some(Ok(RenewalOutcome::CoolingDown(error))) if goal != RenewalGoal::NEW => {
                    return Err(error.clone());
                }
                // The caller joined a background flight, which may have ended without trying the full grant.
                Some(Err(_)) if may_fly_again && !waiter.is_first() && waiter.is_background() => {
                    may_fly_again = false;
                }
                Some(Err(error)) => return Err(error.clone()),
                // It served another goal.
                Some(Ok(_)) => {}
                None => lost += 1,
            }
        }
        let error = self.0.error_without_cool_down(AuthenticationErrorKind::Other);
        Err(error.with_message("the runtime that carried the fetch has ended, time and again"))
    }
}
