//! Whose turn it is to fetch: the lease on our key, where the storage has such.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, CoolDown, CoolDownPolicy, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark,
    StorageError, TokenData, TokenId, TokenLease,
};

use super::Inner;
use super::goal::Goal;
use super::lookup::Found;
use super::slot::{Entry, Stamp};
use crate::rt::Deadline;

/// Dropping it lets others have theirs.
pub(super) struct Turn {
    /// `None`: the storage has no leases.
    lease: Option<Box<dyn TokenLease>>,
    is_ours: bool,
    told: Option<Told>,
}

/// What the storage had when a turn came, and what had changed before that was asked for.
pub(super) struct Told {
    pub(super) stored: Option<TokenData>,
    pub(super) stamp: Stamp,
}

/// What waiting for our turn has led to.
pub(super) enum Waited {
    /// It is ours, or cannot be had: one fetch too many is better than none.
    Over(Turn),
    /// Needless: somebody has left a token.
    Found(Arc<Entry>),
    /// Somebody has failed, and nobody should try.
    CoolingDown(AuthenticationError),
}

impl Turn {
    /// Lets others have theirs, though we are not done: what we bring will serve nobody else.
    pub(super) fn give_up(&mut self) {
        self.lease = None;
        self.is_ours = false;
    }

    /// Whether it was given to us.
    pub(super) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// What the storage had when it came, if that was said.
    pub(super) fn take_told(&mut self) -> Option<Told> {
        self.told.take()
    }

    /// Whether it stores only what replaces nothing newer, also when it is not ours.
    pub(super) fn can_compare(&self) -> bool {
        self.lease.is_some()
    }
}

impl Inner {
    /// A turn that has not come, and is not waited for.
    pub(super) fn out_of_turn(&self) -> Turn {
        let leases = self.storage.as_ref().and_then(|storage| storage.leases());
        Turn { lease: leases.map(|leases| leases.lease(&self.key)), is_ours: false, told: None }
    }

    /// Waits for our turn, within bounds.
    pub(super) async fn wait_for_turn(&self, goal: Goal) -> Waited {
        let mut turn = self.out_of_turn();
        let Some(lease) = &mut turn.lease else { return Waited::Over(turn) };
        let service = self.provider.service_name();
        // Whoever holds it is at work as long as it does not run out, so waiting is the best hope.
        let deadline = Deadline::after(self.fetch_timeout() / 4 * 3);
        loop {
            let stamp = self.slot.stamp(self.clock.now());
            let has_waited =
                self.failures.lock().has_waited_for_others(self.cool_down_limits(), self.clock.now());
            let respects_cool_downs = goal != Goal::Fetched && !has_waited;
            let policy = if respects_cool_downs { CoolDownPolicy::Respect } else { CoolDownPolicy::Ignore };
            match deadline.bound(lease.acquire(policy)).await {
                Ok(Ok(LeaseOutcome::Held { failures })) => {
                    self.failures.lock().go_on_from(failures);
                    turn.is_ours = true;
                    turn.told = match lease.take_read() {
                        LeaseRead::Missing => Some(Told { stored: None, stamp }),
                        LeaseRead::Token(token) => Some(Told { stored: Some(token), stamp }),
                        _ => None,
                    };
                    return Waited::Over(turn);
                }
                Ok(Ok(LeaseOutcome::CoolingDown(cool_down))) => {
                    return Waited::CoolingDown(self.wait_with_the_others(&cool_down));
                }
                // Of what is found there only a token that will do is of interest: who gets the lease
                // looks again.
                Ok(Ok(_)) => {
                    if let Found::Adoptable(entry) = self.look_into_storage(goal).await {
                        return Waited::Found(entry);
                    }
                }
                Ok(Err(error)) => {
                    self.warn_of_storage(&error, "fetching without a lease");
                    return Waited::Over(turn);
                }
                Err(_) => {
                    tracing::warn!(service, "the lease is not given back; fetching without");
                    return Waited::Over(turn);
                }
            }
        }
    }

    /// Marks the refresh token that came with this access token, so that nobody else sends it. `None`: the
    /// storage has no leases, and so no marks.
    pub(super) async fn mark_refresh_token(
        &self,
        turn: &mut Turn,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Option<Result<RefreshMark, StorageError>> {
        let is_ours = turn.is_ours;
        let lease = turn.lease.as_mut()?;
        Some(if is_ours {
            self.bounded(lease.mark_refresh_token(id, takeover)).await
        } else {
            Ok(RefreshMark::LeaseLost)
        })
    }

    /// Removes our mark: the server has not used up the refresh token, so another process may send it.
    pub(super) async fn clear_mark(&self, turn: &mut Turn, id: TokenId) {
        let Some(lease) = turn.lease.as_mut().filter(|_| turn.is_ours) else { return };
        if let Err(error) = self.bounded(lease.clear_mark(id)).await {
            tracing::debug!(service = self.provider.service_name(), %error, "a mark stays");
        }
    }

    /// Stores a token, unless a newer one is there. Says whether it did.
    pub(super) async fn store_in_turn(
        &self,
        turn: &mut Turn,
        token: &TokenData,
        read: Option<TokenId>,
    ) -> Result<bool, StorageError> {
        match (&mut turn.lease, &self.storage) {
            (Some(lease), _) => {
                let stored = self.bounded(lease.store(token, read)).await;
                // It went with it, or is lost.
                turn.is_ours = false;
                stored
            }
            (None, Some(storage)) => self.bounded(storage.set(&self.key, token)).await.map(|()| true),
            (None, None) => Ok(true),
        }
    }

    /// A failure that others would meet with, too, lets them wait as long as we do.
    pub(super) async fn give_up_turn(&self, mut turn: Turn, error: &AuthenticationError, until: i64) {
        let Some(lease) = turn.lease.as_mut().filter(|_| turn.is_ours && error.is_transient()) else {
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

    fn wait_with_the_others(&self, cool_down: &CoolDown) -> AuthenticationError {
        let now = self.clock.now();
        let error = cool_down.error(self.provider.service_name());
        let until = self.failures.lock().adopt(&error, cool_down, self.cool_down_limits(), now);
        if let Some(entry) = self.slot.entry() {
            entry.plan_renewal(now, until);
        }
        self.standing_back(error, until)
    }
}

/// How long all wait because one of them had no answer.
const MAX_WITHOUT_AN_ANSWER: Duration = Duration::from_secs(1);
