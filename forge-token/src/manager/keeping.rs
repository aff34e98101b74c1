//! What happens to a token that was obtained. From here on the flight's deadline does not count: hook and
//! storage have bounds of their own, and none of them can lose the token (invariant 25).

use std::sync::Arc;

use forge_core::{AuthenticationErrorKind, ClockReading, StorageError, TokenData, TokenId};

use super::Inner;
use super::flight::{RenewalOutcome, Result};
use super::goal::RenewalGoal;
use super::lease::LeaseGuard;
use super::lookup::StorageLookup;
use super::renewal::{IssuedToken, RenewableToken, release_lease_if_detached};
use super::single_flight::FlightPublisher;
use super::slot::Entry;

/// A token that the issuer has issued and that is neither stored nor handed out yet, with what storing it
/// needs.
pub(super) struct TokenToKeep {
    /// Shared with `Inner::unkept`, not copied: a token may be a MiB long.
    pub(super) renewed: Arc<IssuedToken>,
    /// The token that it replaces.
    pub(super) known: Option<RenewableToken>,
    /// When the call began. The lifetime counts from there, so that setting the clock during the call cannot
    /// prolong it.
    pub(super) begun: ClockReading,
    /// The token that the storage had before.
    pub(super) stored: Option<TokenId>,
    pub(super) guard: LeaseGuard,
}

/// A new token that its flight has not kept yet, for the next flight if that one is lost.
pub(super) struct UnkeptToken {
    pub(super) renewed: Arc<IssuedToken>,
    /// When the call began, as in [`TokenToKeep`].
    pub(super) begun: ClockReading,
}

impl Inner {
    /// Tells the hook, stores the token, and makes it what callers get.
    pub(super) async fn keep_token(
        &self,
        goal: RenewalGoal,
        new: TokenToKeep,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
    ) -> Result<RenewalOutcome> {
        let TokenToKeep { renewed, known, begun, stored, mut guard } = new;
        // Crash: if this flight is lost with its runtime from here on, the next flight keeps the token.
        publisher.while_current(|| {
            *self.unkept.lock() = Some(Box::new(UnkeptToken { renewed: Arc::clone(&renewed), begun }));
        });
        release_lease_if_detached(
            self.call_refresh_token_hook(known.as_ref(), renewed.token()),
            &mut guard,
            publisher,
        )
        .await;
        let entry = match self.entry_of_new(renewed.token(), begun) {
            Ok(entry) => entry,
            Err(error) => {
                // The refresh token that was sent stays in doubt. Keep the new one, if there is an entry for
                // it.
                let until = self.record_failure(&error);
                self.keep_refresh_token(renewed.token(), None, stored, guard, publisher).await;
                return Err(self.with_cool_down_until(error, until));
            }
        };
        let identity = |token: &TokenData| token.refresh_token().map(TokenId::of);
        let sent = known.as_ref().and_then(|known| identity(&known.token));
        let sent = sent.filter(|_| matches!(*renewed, IssuedToken::Refreshed(_)));
        self.refresh_history.lock().succeed(sent, identity(renewed.token()));
        if !entry.is_usable(self.clock.now()) {
            let error = self.error(AuthenticationErrorKind::InvalidResponse);
            let error = error.with_message("the token has expired on arrival");
            let until = self.record_failure(&error);
            self.keep_refresh_token(renewed.token(), Some(entry), stored, guard, publisher).await;
            return Err(self.with_cool_down_until(error, until));
        }
        self.failures.lock().forget();
        let entry = self.store(goal, entry, stored, guard, publisher).await;
        Ok(match *renewed {
            IssuedToken::Fetched(_) => RenewalOutcome::Fetched(entry),
            IssuedToken::Refreshed(_) => {
                self.reports.rearm_refused_refresh_warning();
                RenewalOutcome::Refreshed(entry)
            }
        })
    }

    /// Lets the user persist a new refresh token before anybody uses what came with it.
    async fn call_refresh_token_hook(&self, known: Option<&RenewableToken>, token: &TokenData) {
        let is_new = token.refresh_token().is_some()
            && known.and_then(|known| known.token.refresh_token()) != token.refresh_token();
        let Some(hook) = self.on_refresh_token.as_ref().filter(|_| is_new) else { return };
        if let Err(reason) = hook.call(self.address(), token.clone()).await {
            let service = self.provider.service_name();
            tracing::warn!(
                service,
                reason,
                "the on_refresh_token hook failed; the new refresh token may not be persisted, using it anyway"
            );
        }
    }

    /// Made before the token is stored: a token that a header cannot carry must not reach the storage.
    fn entry_of_new(&self, token: &TokenData, begun: ClockReading) -> Result<Entry> {
        let now = self.clock.now();
        let entry_of = |token: TokenData| {
            Entry::issued(token, self.slot.stamp(now), self.windows, now)
                .map_err(|error| error.or_service_name(self.provider.service_name()))
        };
        let issued_at = token.issued_at().unwrap_or_else(|| begun.wall());
        let entry = entry_of(token.clone().with_issued_at(issued_at))?;
        if entry.is_usable(now) {
            return Ok(entry);
        }
        // The issuer returns the same token until it expires: count its lifetime from now, so that it stays
        // usable for half of the time that is left.
        entry_of(token.clone().with_issued_at(now.wall().max(issued_at)))
    }

    /// The access token that came with it is of no use, but the server may refuse the old refresh token
    /// from now on. A token at hand that is still valid keeps serving, with the new one.
    ///
    /// `late`: the new access token, if it can be kept for the sake of its refresh token.
    async fn keep_refresh_token(
        &self,
        new: &TokenData,
        late: Option<Entry>,
        stored: Option<TokenId>,
        guard: LeaseGuard,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
    ) {
        let Some(refresh_token) = new.refresh_token() else { return };
        let cached = self.slot.entry().filter(|entry| late.is_none() || entry.is_usable(self.clock.now()));
        let kept = cached.and_then(|entry| entry.with_refresh_token(refresh_token).ok());
        let Some(kept) = kept.or(late) else { return };
        let kept = self.store(RenewalGoal::NEW, kept, stored, guard, publisher).await;
        if kept.is_for_all() {
            publisher.while_current(|| self.slot.fill(&kept));
        }
    }

    /// Gives a storage that answers again what it could not take before, if it has nothing better.
    pub(super) async fn offer_to_storage(
        &self,
        entry: Arc<Entry>,
        instead: Option<TokenData>,
        guard: LeaseGuard,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
    ) -> Arc<Entry> {
        if !guard.stores_conditionally() {
            return entry;
        }
        let offered = entry.as_stored(self.slot.stamp(self.clock.now()));
        self.store(RenewalGoal::VALID, offered, instead.map(|token| token.id()), guard, publisher).await
    }

    /// Stores a token, with the entry that is to be used from now on: usually the one given.
    async fn store(
        &self,
        goal: RenewalGoal,
        mut entry: Entry,
        read: Option<TokenId>,
        mut guard: LeaseGuard,
        publisher: &FlightPublisher<Result<RenewalOutcome>>,
    ) -> Arc<Entry> {
        let service = self.provider.service_name();
        if self.storage.is_some() {
            // Order: an invalidation detaches this flight first and then takes this lock to delete. So it
            // either deletes what is stored here, or `is_current` is false below. The wait has a limit,
            // because the lock's holder may be a task in a runtime that nobody drives any more.
            let writing = self.storage_deadline().bound(self.writing.lock()).await;
            if publisher.is_current() {
                let stored = match &writing {
                    Ok(_) => self.store_through_lease(&mut guard, entry.credential().token(), read).await,
                    Err(_) => Err(StorageError::new("an earlier write to the storage has not finished")),
                };
                let stamp = self.slot.stamp(self.clock.now());
                match stored {
                    Ok(true) => entry.outlive_own_change(stamp),
                    Ok(false) => {
                        tracing::debug!(service, "not storing: another manager has changed the token");
                        if let StorageLookup::Usable(newer) = self.look_up_in_storage(goal).await {
                            return newer;
                        }
                        // The storage has no usable token: the key was invalidated, or another manager is
                        // about to store a token.
                        entry.restrict_to_waiters();
                    }
                    Err(error) => {
                        self.warn_of_storage(
                            &error,
                            "the token could not be stored; it stays in the process",
                        );
                        entry.mark_unstored(read, error.is_unsent(), stamp);
                    }
                }
            }
        }
        tracing::debug!(service, expires_at = ?entry.credential().expires_at(), "got a new token");
        Arc::new(entry)
    }
}
