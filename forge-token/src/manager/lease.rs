//! Whose turn it is to fetch: the lease on our key, where the storage has such.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, CoolDown, CoolDownPolicy, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark,
    StorageError, TokenData, TokenId, TokenLease,
};

use super::Inner;
use super::goal::RenewalGoal;
use super::lookup::StorageLookup;
use super::slot::{Entry, Stamp};
use crate::rt::Deadline;

/// Dropping it lets others have theirs.
pub(super) struct LeaseGuard {
    /// `None`: the storage has no leases.
    lease: Option<Box<dyn TokenLease>>,
    is_held: bool,
    snapshot: Option<LeaseSnapshot>,
}

/// What the storage had when a turn came, and what had changed before that was asked for.
pub(super) struct LeaseSnapshot {
    pub(super) stored: Option<TokenData>,
    pub(super) stamp: Stamp,
}

/// What waiting for our turn has led to.
pub(super) enum LeaseWait {
    /// It is ours, or cannot be had: one fetch too many is better than none.
    Ended(LeaseGuard),
    /// Needless: somebody has left a token.
    TokenFound(Arc<Entry>),
    /// Somebody has failed, and nobody should try.
    CoolingDown(AuthenticationError),
}

impl LeaseGuard {
    /// Lets others have theirs, though we are not done: what we bring will serve nobody else.
    pub(super) fn give_up(&mut self) {
        self.lease = None;
        self.is_held = false;
    }

    /// Whether it was given to us.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// What the storage had when it came, if that was said.
    pub(super) fn take_snapshot(&mut self) -> Option<LeaseSnapshot> {
        self.snapshot.take()
    }

    /// Whether it stores only what replaces nothing newer, also when it is not ours.
    pub(super) fn stores_conditionally(&self) -> bool {
        self.lease.is_some()
    }
}

impl Inner {
    /// A turn that has not come, and is not waited for.
    pub(super) fn unacquired_lease(&self) -> LeaseGuard {
        let leases = self.storage.as_ref().and_then(|storage| storage.leases());
        LeaseGuard { lease: leases.map(|leases| leases.lease(&self.key)), is_held: false, snapshot: None }
    }

    /// Waits for our turn, within bounds.
    pub(super) async fn acquire_lease(&self, goal: RenewalGoal) -> LeaseWait {
        let mut guard = self.unacquired_lease();
        let Some(lease) = &mut guard.lease else { return LeaseWait::Ended(guard) };
        let service = self.provider.service_name();
        // Whoever holds it is at work as long as it does not run out, so waiting is the best hope.
        let deadline = Deadline::after(self.fetch_timeout() / 4 * 3);
        loop {
            let stamp = self.slot.stamp(self.clock.now());
            let has_waited =
                self.failures.lock().has_waited_for_others(self.cool_down_limits(), self.clock.now());
            let respects_cool_downs = goal != RenewalGoal::NEW && !has_waited;
            let policy = if respects_cool_downs { CoolDownPolicy::Respect } else { CoolDownPolicy::Ignore };
            match deadline.bound(lease.acquire(policy)).await {
                Ok(Ok(LeaseOutcome::Held { failures })) => {
                    self.failures.lock().continue_count_from(failures);
                    guard.is_held = true;
                    guard.snapshot = match lease.take_read() {
                        LeaseRead::Missing => Some(LeaseSnapshot { stored: None, stamp }),
                        LeaseRead::Token(token) => Some(LeaseSnapshot { stored: Some(token), stamp }),
                        _ => None,
                    };
                    return LeaseWait::Ended(guard);
                }
                Ok(Ok(LeaseOutcome::CoolingDown(cool_down))) => {
                    return LeaseWait::CoolingDown(self.adopt_shared_cool_down(&cool_down));
                }
                // Of what is found there only a token that will do is of interest: who gets the lease
                // looks again.
                Ok(Ok(_)) => {
                    if let StorageLookup::Usable(entry) = self.look_up_in_storage(goal).await {
                        return LeaseWait::TokenFound(entry);
                    }
                }
                Ok(Err(error)) => {
                    self.warn_of_storage(&error, "fetching without a lease");
                    return LeaseWait::Ended(guard);
                }
                Err(_) => {
                    tracing::warn!(service, "the lease is not given back; fetching without");
                    return LeaseWait::Ended(guard);
                }
            }
        }
    }

    /// Marks the refresh token that came with this access token, so that nobody else sends it. `None`: the
    /// storage has no leases, and so no marks.
    pub(super) async fn mark_refresh_token(
        &self,
        guard: &mut LeaseGuard,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Option<Result<RefreshMark, StorageError>> {
        let is_held = guard.is_held;
        let lease = guard.lease.as_mut()?;
        Some(if is_held {
            self.bounded(lease.mark_refresh_token(id, takeover)).await
        } else {
            Ok(RefreshMark::LeaseLost)
        })
    }

    /// Removes our mark: the server has not used up the refresh token, so another process may send it.
    pub(super) async fn clear_mark(&self, guard: &mut LeaseGuard, id: TokenId) {
        let Some(lease) = guard.lease.as_mut().filter(|_| guard.is_held) else { return };
        if let Err(error) = self.bounded(lease.clear_mark(id)).await {
            tracing::debug!(service = self.provider.service_name(), %error, "a mark stays");
        }
    }

    /// Stores a token, unless a newer one is there. Says whether it did.
    pub(super) async fn store_through_lease(
        &self,
        guard: &mut LeaseGuard,
        token: &TokenData,
        read: Option<TokenId>,
    ) -> Result<bool, StorageError> {
        match (&mut guard.lease, &self.storage) {
            (Some(lease), _) => {
                let stored = self.bounded(lease.store(token, read)).await;
                // It went with it, or is lost.
                guard.is_held = false;
                stored
            }
            (None, Some(storage)) => self.bounded(storage.set(&self.key, token)).await.map(|()| true),
            (None, None) => Ok(true),
        }
    }

    /// A failure that others would meet with, too, lets them wait as long as we do.
    pub(super) async fn share_failure(&self, mut guard: LeaseGuard, error: &AuthenticationError, until: i64) {
        let Some(lease) = guard.lease.as_mut().filter(|_| guard.is_held && error.is_transient()) else {
            return;
        };
        let left = u64::try_from(until.saturating_sub(self.clock.now().monotonic_millis())).unwrap_or(0);
        let mut left = Duration::from_millis(left).min(self.cool_down_limits().shared());
        if error.status().is_none() {
            // That we cannot reach the server need not be the server's fault.
            left = left.min(MAX_WITHOUT_AN_ANSWER);
        }
        // One at least, also where what failed is another manager, which counts for itself.
        let failures = self.failures.lock().in_a_row().max(1);
        let cool_down = CoolDown::after(error, left, failures);
        if let Err(error) = self.bounded(lease.fail(&cool_down)).await {
            tracing::debug!(service = self.provider.service_name(), %error, "nobody else waits");
        }
    }

    fn adopt_shared_cool_down(&self, cool_down: &CoolDown) -> AuthenticationError {
        let now = self.clock.now();
        let error = cool_down.error(self.provider.service_name());
        let until = self.failures.lock().adopt(&error, cool_down, self.cool_down_limits(), now);
        if let Some(entry) = self.slot.entry() {
            entry.plan_renewal(now, until);
        }
        self.with_cool_down_until(error, until)
    }
}

/// How long all wait because one of them had no answer.
const MAX_WITHOUT_AN_ANSWER: Duration = Duration::from_secs(1);
