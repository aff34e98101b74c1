//! One renewal: by the refresh token where that may be sent, else by the full grant.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, MarkTakeover, RefreshMark, TokenData, TokenId,
    TokenRequirement,
};

use super::Inner;
use super::flight::{RenewalOutcome, Result};
use super::goal::RenewalGoal;
use super::lease::LeaseGuard;
use super::refresh_history::RefreshTokenState;
use super::single_flight::FlightPublisher;
use crate::rt::{self, Deadline};

/// A new token, and how it was obtained.
#[derive(Clone)]
pub(crate) enum IssuedToken {
    Fetched(TokenData),
    Refreshed(TokenData),
}

impl IssuedToken {
    pub(super) fn token(&self) -> &TokenData {
        let (Self::Fetched(token) | Self::Refreshed(token)) = self;
        token
    }
}

/// A token that may be renewed, and whether others have it too.
pub(super) struct RenewableToken {
    pub(super) token: TokenData,
    pub(super) is_shared: bool,
    /// Whether another process may have used the refresh token without this manager's noticing.
    pub(super) is_in_doubt: bool,
}

/// How an attempt to refresh ended.
enum Refresh {
    Done(TokenData),
    /// The refresh token was not sent: it may have been spent before.
    NotSent,
    /// The refresh failed, and the full grant follows in the same flight.
    Failed,
}

/// Whether a refresh token may be sent now.
enum Permission {
    Granted,
    /// It may have been spent. The full grant is the other way to a token.
    Contested,
    /// It may not be sent yet, and there is no other way.
    Denied(AuthenticationError),
}

impl Inner {
    pub(super) async fn renew(
        &self,
        goal: RenewalGoal,
        known: Option<&RenewableToken>,
        guard: &mut LeaseGuard,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
    ) -> Result<IssuedToken> {
        let by_refresh = goal != RenewalGoal::NEW || !self.provider.has_full_grant();
        let mut contested = None;
        if let Some(known) = known.filter(|_| by_refresh)
            && let Some(refresh_token) = known.token.refresh_token()
        {
            let refresh_token = TokenId::of(refresh_token);
            match self.refresh(goal, known, refresh_token, guard, publisher).await? {
                Refresh::Done(token) => return Ok(IssuedToken::Refreshed(token)),
                Refresh::NotSent => contested = Some(refresh_token),
                Refresh::Failed => {}
            }
        }
        let fetched = call_provider(self.provider.fetch_token_for(self.demand(goal)), guard, publisher).await;
        fetched.map(IssuedToken::Fetched).map_err(|error| {
            // An error with a step comes from that step's manager, whose service has another name.
            let error = if error.step().is_none() {
                error.or_service_name(self.provider.service_name())
            } else {
                error
            };
            // After a restart such a provider sends a refresh token that the user has persisted.
            let is_dead = RefreshTokenState::after(&error) == RefreshTokenState::Dead;
            let error =
                if is_dead && !self.provider.has_full_grant() { error.with_login_needed() } else { error };
            let Some(refresh_token) = contested else { return error };
            // If the server refused the client itself, a refresh would be refused too.
            if error.is_permanent() && !error.is_invalid_client() {
                // Otherwise the refresh token is the last way to a token, even though it may have been used.
                self.refresh_history.lock().refuse_full_grant(refresh_token);
            }
            error.into_refresh()
        })
    }

    async fn refresh(
        &self,
        goal: RenewalGoal,
        known: &RenewableToken,
        refresh_token: TokenId,
        guard: &mut LeaseGuard,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
    ) -> Result<Refresh> {
        match self.permission_to_send(goal, known, refresh_token, guard).await {
            Permission::Granted => {}
            Permission::Contested => return Ok(Refresh::NotSent),
            Permission::Denied(error) => return Err(error),
        }
        // Crash: if the runtime ends during the call, the flight is dropped here and cannot record anything.
        // So record the call before it begins.
        self.refresh_history.lock().begin_call(refresh_token, self.clock.now());
        let call = call_provider(self.provider.refresh_token(&known.token), guard, publisher);
        // A hang: end the call a little before the flight's deadline, so that `after_failed_refresh` still
        // runs.
        let answered = match rt::time_left() {
            Some(left) => Deadline::after(left / 20 * 19).bound(call).await.ok(),
            None => Some(call.await),
        };
        match answered.unwrap_or_else(|| Err(self.error(AuthenticationErrorKind::Timeout))) {
            Ok(token) => Ok(Refresh::Done(token)),
            Err(error) => {
                let error = error.into_refresh().or_service_name(self.provider.service_name());
                self.after_failed_refresh(goal, known, refresh_token, guard, error).await
            }
        }
    }

    /// Whether the refresh token may be sent (invariant 25): not while there is another way to a token, if
    /// this manager or another one may have spent it.
    async fn permission_to_send(
        &self,
        goal: RenewalGoal,
        known: &RenewableToken,
        refresh_token: TokenId,
        guard: &mut LeaseGuard,
    ) -> Permission {
        let has_full_grant = self.provider.has_full_grant();
        let (is_in_doubt, is_full_grant_refused) = {
            let history = self.refresh_history.lock();
            (known.is_in_doubt || history.is_in_doubt(refresh_token), history.is_last_way(refresh_token))
        };
        let is_last_way =
            (!has_full_grant || is_full_grant_refused) && !self.has_usable_token_meanwhile(goal);
        if is_in_doubt && !is_last_way && !self.refresh_when_contested {
            if has_full_grant {
                return Permission::Contested;
            }
            let lasts = self.usable_time_left().unwrap_or_default();
            let error = self.error(AuthenticationErrorKind::Other).into_refresh();
            let error = error.with_message(
                "the refresh token may have been used; it is sent again once the access token has expired",
            );
            return Permission::Denied(error.with_cool_down(lasts));
        }
        if !known.is_shared {
            return Permission::Granted;
        }
        match self.mark(guard, known.token.id(), refresh_token, is_last_way).await {
            Ok(()) => Permission::Granted,
            Err(_) if has_full_grant => Permission::Contested,
            Err(error) => Permission::Denied(error),
        }
    }

    /// Marks the refresh token that came with this access token, so that nobody else sends it. The error says
    /// why it must not be sent.
    async fn mark(
        &self,
        guard: &mut LeaseGuard,
        id: TokenId,
        refresh_token: TokenId,
        is_last_way: bool,
    ) -> Result<()> {
        let takeover = if self.refresh_when_contested { MarkTakeover::Once } else { MarkTakeover::Never };
        let Some(mut marked) = self.mark_refresh_token(guard, id, takeover).await else { return Ok(()) };
        if let (Ok(RefreshMark::Foreign { age }), true) = (&marked, is_last_way) {
            // Race: the process that set the mark may be paused or cut off from the storage. Its lease has
            // ended, but its call may still be in progress, so wait until the longest call must have ended.
            // If this manager set the mark, it knows that its own call has ended, and need not wait.
            let longest =
                if self.is_own_mark(refresh_token, *age) { Duration::ZERO } else { self.fetch_timeout() };
            let left = age.map_or(Duration::ZERO, |age| longest.saturating_sub(age));
            if !left.is_zero() {
                let error = self.error(AuthenticationErrorKind::Timeout).into_refresh();
                let error =
                    error.with_message("an earlier call with the refresh token may still be in progress");
                return Err(error.with_cool_down(left));
            }
            let service = self.provider.service_name();
            tracing::warn!(
                service,
                "sending a refresh token that may have been used: the provider has no other way to a token"
            );
            if let Some(taken) = self.mark_refresh_token(guard, id, MarkTakeover::Always).await {
                marked = taken;
            }
        }
        let service = self.provider.service_name();
        let reason = match marked {
            Ok(RefreshMark::Ours) => return Ok(()),
            // With `refresh_when_contested`, the mark was taken over before.
            Ok(RefreshMark::Foreign { .. }) => {
                tracing::warn!(service, "an earlier call may have used the refresh token; not sending it");
                let error = self.error(AuthenticationErrorKind::Other).into_refresh();
                return Err(error.with_message("an earlier call may have used the refresh token"));
            }
            Ok(_) => "there is no lease".to_owned(),
            Err(error) => error.to_string(),
        };
        let refresh_when_contested = self.refresh_when_contested;
        tracing::warn!(
            service,
            reason,
            refresh_when_contested,
            "could not mark the refresh token in the storage; another process may send it too"
        );
        if refresh_when_contested {
            return Ok(());
        }
        let error = self.error(AuthenticationErrorKind::Storage).into_refresh();
        Err(error.with_message("the refresh token was not sent: it could not be marked in the storage"))
    }

    /// Whether this manager set the mark of this age, for its last call, and that call has ended.
    fn is_own_mark(&self, refresh_token: TokenId, age: Option<Duration>) -> bool {
        let ended = self.refresh_history.lock().ended_call(refresh_token);
        ended.zip(age).is_some_and(|(begun_at, age)| {
            let since = self.clock.now().monotonic_millis().saturating_sub(begun_at).max(0);
            // This manager sets its mark right before its call begins. A younger mark is another process's.
            age.saturating_add(MARK_TOLERANCE) >= Duration::from_millis(since.unsigned_abs())
        })
    }

    /// What follows a failed refresh (invariant 23; the table is in ARCHITECTURE.md).
    async fn after_failed_refresh(
        &self,
        goal: RenewalGoal,
        known: &RenewableToken,
        refresh_token: TokenId,
        guard: &mut LeaseGuard,
        error: AuthenticationError,
    ) -> Result<Refresh> {
        use RefreshTokenState::{Dead, InDoubt, Refused, Unused};

        let state = RefreshTokenState::after(&error);
        let calls_in_doubt = self.refresh_history.lock().end_call(refresh_token, state);
        if matches!(state, Unused | Refused) {
            self.clear_mark(guard, known.token.id()).await;
        }
        if state == Refused {
            self.reports.warn_refused_refresh_once(self.provider.service_name(), &error);
        }
        if !self.provider.has_full_grant() {
            let needs_login = state == Dead || (state == InDoubt && calls_in_doubt > 1);
            return Err(if needs_login { error.with_login_needed() } else { error });
        }
        if matches!(state, Unused | InDoubt) {
            let asks_for_patience = error.retry_after().is_some_and(|delay| !delay.is_zero());
            let is_patient = asks_for_patience && self.refresh_history.lock().take_patience(refresh_token);
            if is_patient || self.has_usable_token_meanwhile(goal) {
                return Err(error);
            }
        }
        let service = self.provider.service_name();
        tracing::debug!(service, %error, ?state, "the refresh failed; falling back to the full grant");
        Ok(Refresh::Failed)
    }

    /// Whether this renewal runs in the background while callers use a valid token.
    fn has_usable_token_meanwhile(&self, goal: RenewalGoal) -> bool {
        goal.is_in_background() && self.usable_time_left().is_some()
    }

    /// What the provider is asked for. A provider with tokens of its own must not bring one that is at hand
    /// and will not do.
    fn demand(&self, goal: RenewalGoal) -> TokenRequirement {
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

/// How far the clocks of storage and manager may differ in telling when a mark was made.
const MARK_TOLERANCE: Duration = Duration::from_millis(5);

/// Records that the provider is being called, and awaits the call.
async fn call_provider<T>(
    call: impl Future<Output = T>,
    guard: &mut LeaseGuard,
    publisher: &FlightPublisher<Result<RenewalOutcome>>,
) -> T {
    publisher.mark_provider_called();
    release_lease_if_detached(call, guard, publisher).await
}

/// Awaits the work. If the flight is detached meanwhile, gives up its turn, so that the next flight need not
/// wait for the lease.
pub(super) async fn release_lease_if_detached<T>(
    work: impl Future<Output = T>,
    guard: &mut LeaseGuard,
    publisher: &FlightPublisher<Result<RenewalOutcome>>,
) -> T {
    let mut call = pin!(work);
    let mut detached = pin!(publisher.detached());
    let mut is_attached = true;
    poll_fn(|context| {
        if is_attached && detached.as_mut().poll(context).is_ready() {
            is_attached = false;
            guard.give_up();
        }
        call.as_mut().poll(context)
    })
    .await
}
