//! The lease on the manager's key, where the storage has leases: its holder is the only one that renews.

use std::time::Duration;

use forge_core::{
    AuthenticationError, CoolDown, CoolDownPolicy, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark,
    StorageError, TokenData, TokenId, TokenLease,
};

use super::super::Inner;
use super::super::lookup::StorageLookup;
use super::super::slot::Stamp;
use super::action::{Input, LeaseAnswer, MarkAnswer, StorageAnswer};
use super::driver::Driver;
use crate::rt::Deadline;

/// The lease of one renewal. Dropping it releases the lease.
#[derive(Default)]
pub(super) struct LeaseGuard {
    /// `None`: the storage has no leases, or none was asked for.
    lease: Option<Box<dyn TokenLease>>,
    is_held: bool,
    snapshot: Option<LeaseSnapshot>,
}

/// The storage's token when it granted the lease, with the stamp from before the request.
pub(super) struct LeaseSnapshot {
    pub(super) stored: Option<TokenData>,
    pub(super) stamp: Stamp,
}

impl LeaseGuard {
    /// Lets other processes have the lease.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    /// Whether there is a lease, held or not: the storage has leases. Even a lease that is not held stores a token only
    /// if that replaces no newer one.
    pub(super) fn has_lease(&self) -> bool {
        self.lease.is_some()
    }
}

impl Inner {
    /// A lease that is not requested yet.
    pub(super) fn unacquired_lease(&self) -> LeaseGuard {
        let leases = self.storage.as_ref().and_then(|storage| storage.leases());
        LeaseGuard { lease: leases.map(|leases| leases.lease(&self.key)), is_held: false, snapshot: None }
    }
}

impl Driver {
    pub(super) fn check_lease(&mut self) -> Input {
        let manager = &self.manager;
        if self.lease_deadline.is_none() {
            self.lease = manager.unacquired_lease();
            // The holder of a lease that has not run out is at work, so waiting for its token is the best hope. The
            // last quarter of the time is for a fetch without the lease.
            self.lease_deadline = Some(Deadline::after(manager.fetch_timeout() / 4 * 3));
        }
        let has_leases = self.lease.has_lease();
        let limits = manager.cool_down_limits();
        let has_waited_for_others =
            has_leases && manager.failures.lock().has_waited_for_others(limits, manager.clock.now());
        Input::LeaseTerms { has_leases, has_waited_for_others }
    }

    pub(super) async fn acquire_lease(&mut self, policy: CoolDownPolicy) -> Input {
        let manager = &self.manager;
        let service = manager.provider.service_name();
        let (Some(lease), Some(deadline)) = (&mut self.lease.lease, self.lease_deadline) else {
            return Input::Lease(LeaseAnswer::Unavailable);
        };
        // Order: before the storage is asked. A change in between makes the snapshot stale, never fresh by mistake.
        let stamp = manager.slot.stamp(manager.clock.now());
        Input::Lease(match deadline.bound(lease.acquire(policy)).await {
            Ok(Ok(LeaseOutcome::Held { failures })) => {
                manager.failures.lock().continue_count_from(failures);
                self.lease.snapshot = match lease.take_read() {
                    LeaseRead::Missing => Some(LeaseSnapshot { stored: None, stamp }),
                    LeaseRead::Token(token) => Some(LeaseSnapshot { stored: Some(token), stamp }),
                    _ => None,
                };
                self.lease.is_held = true;
                LeaseAnswer::Held
            }
            Ok(Ok(LeaseOutcome::CoolingDown(cool_down))) => {
                self.error = Some(manager.adopt_shared_cool_down(&cool_down));
                LeaseAnswer::CoolingDown
            }
            Ok(Ok(_)) => LeaseAnswer::StorageChanged,
            Ok(Err(error)) => {
                manager.warn_of_storage(&error, "fetching without a lease");
                LeaseAnswer::Unavailable
            }
            Err(_) => {
                tracing::warn!(
                    service,
                    "no lease in time: another process holds it; fetching without a lease"
                );
                LeaseAnswer::Unavailable
            }
        })
    }

    /// Only a token that meets the goal is of interest: after the lease is granted, the storage is read again.
    pub(super) async fn read_storage_while_waiting(&mut self) -> Input {
        match self.manager.look_up_in_storage(self.goal).await {
            usable @ StorageLookup::Usable(_) => self.take_lookup(usable),
            _ => Input::Storage(StorageAnswer::NotUsable),
        }
    }

    pub(super) async fn read_storage_under_lease(&mut self) -> Input {
        let manager = &self.manager;
        let lookup = match self.lease.snapshot.take() {
            // Nothing has changed since the lease was requested, so the storage still has the snapshot's token.
            Some(snapshot) if manager.slot.is_unchanged(snapshot.stamp) => {
                manager.classify_stored(self.goal, snapshot.stored, snapshot.stamp)
            }
            _ => manager.look_up_in_storage(self.goal).await,
        };
        self.take_lookup(lookup)
    }

    /// Marks the candidate's refresh token, so that no other process sends it.
    pub(super) async fn mark_refresh_token(&mut self, takeover: MarkTakeover) -> Input {
        let Some((id, refresh_token)) = self
            .candidate
            .as_ref()
            .and_then(|candidate| Some((candidate.token.id(), candidate.refresh_token_id()?)))
        else {
            return Input::Mark(MarkAnswer::NotMarked);
        };
        let manager = &self.manager;
        let service = manager.provider.service_name();
        if takeover == MarkTakeover::Always {
            tracing::warn!(
                service,
                "sending a refresh token that may have been used: the provider has no other way to a token"
            );
        }
        let is_held = self.lease.is_held;
        let Some(lease) = self.lease.lease.as_mut() else { return Input::Mark(MarkAnswer::NotSupported) };
        let marked = if is_held {
            manager.bounded(lease.mark_refresh_token(id, takeover)).await
        } else {
            Ok(RefreshMark::LeaseLost)
        };
        let reason = match marked {
            Ok(RefreshMark::Ours) => return Input::Mark(MarkAnswer::Ours),
            Ok(RefreshMark::Foreign { age }) => {
                self.foreign_call_left = manager.foreign_call_left(refresh_token, age);
                let may_be_in_progress = !self.foreign_call_left.is_zero();
                return Input::Mark(MarkAnswer::Foreign { may_be_in_progress });
            }
            Ok(_) => "there is no lease".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            service,
            reason,
            refresh_when_contested = manager.refresh_when_contested,
            "could not mark the refresh token in the storage; another process may send it too"
        );
        Input::Mark(MarkAnswer::NotMarked)
    }

    pub(super) async fn clear_mark(&mut self) -> Input {
        let Some(id) = self.candidate.as_ref().map(|candidate| candidate.token.id()) else {
            return Input::Done;
        };
        let manager = &self.manager;
        let is_held = self.lease.is_held;
        if let Some(lease) = self.lease.lease.as_mut().filter(|_| is_held)
            && let Err(error) = manager.bounded(lease.clear_mark(id)).await
        {
            let service = manager.provider.service_name();
            tracing::debug!(service, %error, "could not remove the mark of a refresh token");
        }
        Input::Done
    }

    /// Stores a token, unless the storage has a newer one. Says whether it did.
    pub(super) async fn store_through_lease(
        &mut self,
        token: &TokenData,
        read: Option<TokenId>,
    ) -> Result<bool, StorageError> {
        let manager = &self.manager;
        match (&mut self.lease.lease, &manager.storage) {
            (Some(lease), _) => {
                let stored = manager.bounded(lease.store(token, read)).await;
                // A lease ends with its store.
                self.lease.is_held = false;
                stored
            }
            (None, Some(storage)) => manager.bounded(storage.set(&manager.key, token)).await.map(|()| true),
            (None, None) => Ok(true),
        }
    }

    /// Other processes would meet a transient failure too, so they wait as long as this manager.
    pub(super) async fn share_failure(&mut self) -> Input {
        let Some(error) = self.error.take() else { return Input::Done };
        let manager = &self.manager;
        let is_shared = self.lease.is_held && error.is_transient();
        if let Some(lease) = self.lease.lease.as_mut().filter(|_| is_shared) {
            let cool_down = manager.shared_cool_down(&error, self.cool_down_until);
            if let Err(error) = manager.bounded(lease.fail(&cool_down)).await {
                let service = manager.provider.service_name();
                tracing::debug!(service, %error, "could not tell other processes of the failure");
            }
        }
        self.lease.release();
        self.error = Some(self.manager.with_cool_down_until(error, self.cool_down_until));
        Input::Done
    }
}

impl Inner {
    fn shared_cool_down(&self, error: &AuthenticationError, until: i64) -> CoolDown {
        let left = u64::try_from(until.saturating_sub(self.clock.now().monotonic_millis())).unwrap_or(0);
        let mut left = Duration::from_millis(left).min(self.cool_down_limits().shared());
        if error.status().is_none() {
            // Only this process may have lost its way to the server.
            left = left.min(MAX_SHARED_COOL_DOWN_WITHOUT_RESPONSE);
        }
        // At least one. A failure that another manager counts is not counted here.
        let failures = self.failures.lock().in_a_row().max(1);
        CoolDown::after(error, left, failures)
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

    /// How long the call of the process that set a mark of this age may still take. Race: that process may be paused
    /// or cut off from the storage. Its lease has ended, but its call may be in progress until the longest call must
    /// have ended. If this manager set the mark, it knows that its own call has ended.
    fn foreign_call_left(&self, refresh_token: TokenId, age: Option<Duration>) -> Duration {
        let is_own = age.is_some_and(|age| self.is_own_mark(refresh_token, age));
        let max_call = if is_own { Duration::ZERO } else { self.fetch_timeout() };
        age.map_or(Duration::ZERO, |age| max_call.saturating_sub(age))
    }

    /// Whether this manager set the mark of this age for its last call, and that call has ended.
    fn is_own_mark(&self, refresh_token: TokenId, age: Duration) -> bool {
        self.refresh_history.lock().ended_call_begun_at(refresh_token).is_some_and(|begun_at| {
            let since = self.clock.now().monotonic_millis().saturating_sub(begun_at).max(0);
            // This manager sets its mark right before its call begins. A younger mark is another process's.
            age.saturating_add(MARK_TOLERANCE) >= Duration::from_millis(since.unsigned_abs())
        })
    }
}

/// The longest cool-down that a failure without a response begins for all processes: a connection that fails here
/// may work elsewhere.
const MAX_SHARED_COOL_DOWN_WITHOUT_RESPONSE: Duration = Duration::from_secs(1);

/// How far the clocks of storage and manager may differ about when a mark was made.
const MARK_TOLERANCE: Duration = Duration::from_millis(5);
