//! The calls of the provider, and the conclusions from their failures.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind, TokenData, TokenRequirement};

use super::super::Inner;
use super::super::goal::RenewalGoal;
use super::super::refresh_history::RefreshTokenState;
use super::super::single_flight::FlightPublisher;
use super::action::{Failure, GrantKind, Input, RefreshObstacle};
use super::candidate::RefreshCandidate;
use super::driver::{Driver, IssuedToken, RenewalResult};
use super::lease::LeaseGuard;
use crate::rt::{self, Deadline};

impl Driver {
    pub(super) async fn call_refresh(&mut self) -> Input {
        let Self { manager, candidate, lease, publisher, .. } = &mut *self;
        let Some(candidate) = candidate else { return Input::Done };
        let Some(refresh_token) = candidate.refresh_token_id() else { return Input::Done };
        // Crash: if the runtime ends during the call, the flight is dropped here and cannot record anything.
        // So record the call before it begins.
        manager.refresh_history.lock().begin_call(refresh_token, manager.clock.now());
        let call = call_provider(manager.provider.refresh_token(&candidate.token), lease, publisher);
        let answered = match rt::time_left() {
            Some(left) => Deadline::after(refresh_call_limit(left)).bound(call).await.ok(),
            None => Some(call.await),
        };
        let answered = answered.unwrap_or_else(|| Err(manager.error(AuthenticationErrorKind::Timeout)));
        let error = match answered {
            Ok(token) => return self.take_issued(token, GrantKind::Refresh),
            Err(error) => error.into_refresh().or_service_name(manager.provider.service_name()),
        };
        let state = RefreshTokenState::after(&error);
        let calls_in_doubt = manager.refresh_history.lock().end_call(refresh_token, state);
        if state == RefreshTokenState::Refused {
            manager.reports.warn_refused_refresh_once(manager.provider.service_name(), &error);
        }
        self.error = Some(error);
        Input::RefreshFailed { state, is_repeated_doubt: calls_in_doubt > 1 }
    }

    pub(super) fn assess_fallback(&self) -> Input {
        let asks_for_delay = self
            .error
            .as_ref()
            .and_then(AuthenticationError::retry_after)
            .is_some_and(|delay| !delay.is_zero());
        let refresh_token = self.candidate.as_ref().and_then(RefreshCandidate::refresh_token_id);
        let is_first_retry_after = asks_for_delay
            && refresh_token.is_some_and(|id| self.manager.refresh_history.lock().take_patience(id));
        Input::Fallback { is_first_retry_after, has_usable_token: self.manager.usable_time_left().is_some() }
    }

    pub(super) async fn call_full_grant(&mut self, obstacle: Option<RefreshObstacle>) -> Input {
        let Self { manager, lease, publisher, goal, error, .. } = &mut *self;
        let service = manager.provider.service_name();
        if obstacle == Some(RefreshObstacle::ForeignMark) {
            warn_of_foreign_mark(service);
        }
        if let Some(error) = error.take() {
            let state = RefreshTokenState::after(&error);
            tracing::debug!(service, %error, ?state, "the refresh failed; falling back to the full grant");
        }
        let requirement = manager.requirement_for_provider(*goal);
        let error = match call_provider(manager.fetch_from_provider(requirement), lease, publisher).await {
            Ok(token) => return self.take_issued(token, GrantKind::Full),
            // An error with a step comes from that step's manager, whose service has another name.
            Err(error) if error.step().is_some() => error,
            Err(error) => error.or_service_name(service),
        };
        let state = RefreshTokenState::after(&error);
        // If the server refused the client itself, a refresh would be refused too.
        let is_grant_refused = error.is_permanent() && !error.is_invalid_client();
        self.error = Some(error);
        Input::FullGrantFailed { state, is_grant_refused }
    }

    fn take_issued(&mut self, token: TokenData, kind: GrantKind) -> Input {
        let begun = self.begun.unwrap_or_else(|| self.manager.clock.now());
        self.issued = Some(Arc::new(IssuedToken { token, kind, begun }));
        Input::TokenIssued
    }

    pub(super) fn record_full_grant_refusal(&self) -> Input {
        if let Some(refresh_token) = self.candidate.as_ref().and_then(RefreshCandidate::refresh_token_id) {
            self.manager.refresh_history.lock().refuse_full_grant(refresh_token);
        }
        Input::Done
    }

    /// Begins the cool-down of the failure.
    pub(super) fn record_failure(&mut self, failure: Failure) -> Input {
        let error = self.error_of(failure);
        // A provider whose error has a cool-down asks another manager, and that one has logged the failure.
        self.is_foreign_failure = error.cool_down().is_some();
        self.cool_down_until = self.manager.begin_cool_down(&error);
        self.error = Some(error);
        Input::Done
    }

    fn error_of(&mut self, failure: Failure) -> AuthenticationError {
        let error = self.error.take().unwrap_or_else(|| self.manager.error(AuthenticationErrorKind::Other));
        let (error, needs_login) = match failure {
            Failure::NotSent(obstacle) => return self.obstacle_error(obstacle),
            Failure::Refresh { needs_login } => (error, needs_login),
            Failure::FullGrant { needs_login, is_refresh } => {
                (if is_refresh { error.into_refresh() } else { error }, needs_login)
            }
        };
        if needs_login { error.with_login_needed() } else { error }
    }

    fn obstacle_error(&self, obstacle: RefreshObstacle) -> AuthenticationError {
        let manager = &self.manager;
        let error = |kind, message: &'static str| manager.error(kind).into_refresh().with_message(message);
        match obstacle {
            RefreshObstacle::InDoubt => {
                let message = "the refresh token may have been used; it is sent again once the access token has expired";
                let lasts = manager.usable_time_left().unwrap_or_default();
                error(AuthenticationErrorKind::Other, message).with_cool_down(lasts)
            }
            RefreshObstacle::CallInProgress => {
                let message = "an earlier call with the refresh token may still be in progress";
                error(AuthenticationErrorKind::Timeout, message).with_cool_down(self.foreign_call_left)
            }
            RefreshObstacle::ForeignMark => {
                warn_of_foreign_mark(manager.provider.service_name());
                error(AuthenticationErrorKind::Other, "an earlier call may have used the refresh token")
            }
            RefreshObstacle::NotMarked => {
                let message = "the refresh token was not sent: it could not be marked in the storage";
                error(AuthenticationErrorKind::Storage, message)
            }
        }
    }
}

fn warn_of_foreign_mark(service: &str) {
    tracing::warn!(service, "an earlier call may have used the refresh token; not sending it");
}

impl Inner {
    /// The requirement that the manager passes to the provider. A provider that caches tokens must not answer with the cached one that does
    /// not meet the goal.
    fn requirement_for_provider(&self, goal: RenewalGoal) -> TokenRequirement {
        match goal {
            RenewalGoal::Obtain(TokenRequirement::Valid) | RenewalGoal::Recheck => match self.slot.entry() {
                Some(entry) if entry.is_rejected() => TokenRequirement::OtherThan(entry.credential().id()),
                Some(entry) if !entry.is_usable(self.clock.now()) => {
                    TokenRequirement::NewerThan(entry.credential().id())
                }
                _ => TokenRequirement::Valid,
            },
            RenewalGoal::Obtain(requirement) => requirement,
        }
    }
}

/// Records that the provider is being called, and awaits the call.
async fn call_provider<T>(
    call: impl Future<Output = T>,
    lease: &mut LeaseGuard,
    publisher: &FlightPublisher<RenewalResult>,
) -> T {
    publisher.mark_provider_called();
    release_lease_if_detached(call, lease, publisher).await
}

/// Awaits the work. If an invalidation detaches the flight meanwhile, releases the lease: the token of this flight
/// serves no later caller, and the next flight need not wait for the lease.
pub(super) async fn release_lease_if_detached<T>(
    work: impl Future<Output = T>,
    lease: &mut LeaseGuard,
    publisher: &FlightPublisher<RenewalResult>,
) -> T {
    let mut work = pin!(work);
    let mut detached = pin!(publisher.detached());
    let mut is_attached = true;
    poll_fn(|context| {
        if is_attached && detached.as_mut().poll(context).is_ready() {
            is_attached = false;
            lease.release();
        }
        work.as_mut().poll(context)
    })
    .await
}

/// How long a call with a refresh token may take. A hang: the last twentieth of the flight's time is kept back, so that
/// the flight can still record the outcome, and begin the full grant.
fn refresh_call_limit(left: Duration) -> Duration {
    left / 20 * 19
}
