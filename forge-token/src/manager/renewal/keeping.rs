//! Keeps a token that was issued. From here on the flight's deadline does not count: hook and storage
//! have time limits of their own, and none of them can lose the token (invariant 25).

use std::sync::Arc;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, ClockReading, StorageError, TokenData, TokenId,
};

use super::super::Inner;
use super::super::goal::RenewalGoal;
use super::super::lookup::StorageLookup;
use super::super::slot::Entry;
use super::action::{GrantKind, Input};
use super::candidate::RefreshCandidate;
use super::driver::{Driver, IssuedToken};
use super::provider_calls::release_lease_if_detached;

impl Driver {
    /// Calls the hook, stores the token, and makes it the one that callers get.
    pub(super) async fn keep_token(&mut self) -> Input {
        let Some(issued) = self.issued.take() else { return Input::NotKept };
        // Crash: if this flight is lost with its runtime from here on, the next flight keeps the token.
        self.publisher.while_current(|| {
            *self.manager.unkept.lock() = Some(Arc::clone(&issued));
        });
        self.call_refresh_token_hook(&issued.token).await;
        let token = &issued.token;
        let entry = match self.manager.entry_of_issued(token, issued.begun) {
            Ok(entry) => entry,
            Err(error) => {
                // The refresh token that was sent stays in doubt. Keep the new one, if there is an entry for
                // it.
                return self.give_up_token(token, None, error).await;
            }
        };
        self.record_success(&issued);
        if !entry.is_usable(self.manager.clock.now()) {
            let error = self.manager.error(AuthenticationErrorKind::InvalidResponse);
            let error = error.with_message("the token has expired on arrival");
            return self.give_up_token(token, Some(entry), error).await;
        }
        self.manager.failures.lock().forget();
        self.entry = Some(self.store(self.goal, entry).await);
        if issued.kind == GrantKind::Refresh {
            self.manager.reports.rearm_refused_refresh_warning();
        }
        Input::Done
    }

    fn record_success(&self, issued: &IssuedToken) {
        let given = issued.token.refresh_token().map(TokenId::of);
        let sent = self.candidate.as_ref().filter(|_| issued.kind == GrantKind::Refresh);
        let sent = sent.and_then(RefreshCandidate::refresh_token_id);
        self.manager.refresh_history.lock().succeed(sent, given);
    }

    /// Lets the user persist a new refresh token before any caller uses the access token that came with it.
    async fn call_refresh_token_hook(&mut self, token: &TokenData) {
        let Self { manager, candidate, lease, publisher, .. } = self;
        let known = candidate.as_ref().and_then(|candidate| candidate.token.refresh_token());
        let is_new = token.refresh_token().is_some() && token.refresh_token() != known;
        let called = async {
            match manager.on_refresh_token.as_ref().filter(|_| is_new) {
                Some(hook) => hook.call(manager.address(), token.clone()).await,
                None => Ok(()),
            }
        };
        // Race: also without a hook. An invalidation during the provider's last poll has detached this flight, and it
        // must not hold the lease while it waits to store.
        if let Err(reason) = release_lease_if_detached(called, lease, publisher).await {
            let service = manager.provider.service_name();
            tracing::warn!(
                service,
                reason,
                "the on_refresh_token hook failed; the new refresh token may not be persisted, using it anyway"
            );
        }
    }

    /// The new access token is of no use. Its refresh token is kept, because the server may refuse the old one from
    /// now on.
    async fn give_up_token(
        &mut self,
        token: &TokenData,
        unusable: Option<Entry>,
        error: AuthenticationError,
    ) -> Input {
        let until = self.manager.begin_cool_down(&error);
        if let Some(refresh_token) = token.refresh_token() {
            self.keep_refresh_token(refresh_token, unusable).await;
        }
        self.error = Some(self.manager.with_cool_down_until(error, until));
        Input::NotKept
    }

    /// A cached token that is still valid stays in use, with the new refresh token.
    ///
    /// `unusable`: the new access token, if it can be kept for the sake of its refresh token.
    async fn keep_refresh_token(&mut self, refresh_token: &str, unusable: Option<Entry>) {
        let manager = Arc::clone(&self.manager);
        let now = manager.clock.now();
        let cached = manager.slot.entry().filter(|entry| unusable.is_none() || entry.is_usable(now));
        let kept = cached.and_then(|entry| entry.with_refresh_token(refresh_token).ok());
        let Some(kept) = kept.or(unusable) else { return };
        let kept = self.store(RenewalGoal::NEW, kept).await;
        if kept.is_for_all() {
            self.publisher.while_current(|| manager.slot.fill(&kept));
        }
    }

    /// Gives a storage that answers again the token that it could not take before, if it has nothing better.
    pub(super) async fn offer_to_storage(&mut self) -> Input {
        let Some(entry) = self.entry.take() else { return Input::NotKept };
        if !self.lease.has_lease() {
            self.lease = self.manager.unacquired_lease();
        }
        self.entry = Some(if self.lease.has_lease() {
            let stamp = self.manager.slot.stamp(self.manager.clock.now());
            self.stored_id = self.stored.take().map(|token| token.id());
            self.store(RenewalGoal::VALID, entry.as_stored(stamp)).await
        } else {
            entry
        });
        Input::Done
    }

    /// Stores a token. Returns the entry that is to be used from now on: usually the one given.
    async fn store(&mut self, goal: RenewalGoal, mut entry: Entry) -> Arc<Entry> {
        let manager = Arc::clone(&self.manager);
        let service = manager.provider.service_name();
        if manager.storage.is_some() {
            // Order: an invalidation detaches this flight first and then takes this lock to delete. So it
            // either deletes the token that is stored here, or `is_current` is false below. The wait has a limit,
            // because the lock's holder may be a task in a runtime that is not driven any more.
            let writing = manager.storage_deadline().bound(manager.writing.lock()).await;
            if self.publisher.is_current() {
                let read = self.stored_id;
                let stored = match &writing {
                    Ok(_) => self.store_through_lease(entry.credential().token(), read).await,
                    Err(_) => Err(StorageError::new("an earlier write to the storage has not finished")),
                };
                let stamp = manager.slot.stamp(manager.clock.now());
                match stored {
                    Ok(true) => entry.mark_stored(stamp),
                    Ok(false) => {
                        tracing::debug!(service, "not storing: another manager has changed the token");
                        if let StorageLookup::Usable(newer) = manager.look_up_in_storage(goal).await {
                            return newer;
                        }
                        // The storage has no usable token: the key was invalidated, or another manager is
                        // about to store a token.
                        entry.restrict_to_waiters();
                    }
                    Err(error) => {
                        manager.warn_of_storage(
                            &error,
                            "the token could not be stored; it stays in the process",
                        );
                        if error.is_unsent() {
                            entry.mark_private(read, stamp);
                        } else {
                            entry.mark_unconfirmed(read, stamp);
                        }
                    }
                }
            }
        }
        tracing::debug!(service, expires_at = ?entry.credential().expires_at(), "got a new token");
        Arc::new(entry)
    }
}

impl Inner {
    /// Made before the token is stored: a token that a header cannot carry must not reach the storage.
    fn entry_of_issued(&self, token: &TokenData, begun: ClockReading) -> Result<Entry, AuthenticationError> {
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
}
