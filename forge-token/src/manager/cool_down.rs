//! The cool-down after a failure, and its effect on rejected tokens.

use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind, ClockReading, TokenId};

use super::Inner;
use super::failures::CoolDownLimits;
use super::slot::Entry;
use crate::rt;

impl Inner {
    /// The last failure, while its cool-down lasts.
    pub(super) fn cooling_down(&self) -> Option<AuthenticationError> {
        self.failures.lock().cooling_down(self.cool_down_limits(), self.clock.now())
    }

    /// Whether the cool-down may be passed over, for a provider that has other credentials now.
    pub(super) fn bypass_cool_down(&self) -> bool {
        self.failures.lock().bypass(self.cool_down_limits(), self.clock.now())
    }

    /// Another flight or process has brought this token, so this manager's failures are over.
    pub(super) fn note_adoption(&self, entry: &Entry) {
        if self.slot.entry().is_none_or(|cached| cached.id() != entry.id()) {
            self.failures.lock().forget();
            let given = entry.credential().token().refresh_token().map(TokenId::of);
            self.refresh_history.lock().succeed(None, given);
        }
    }

    /// Begins a cool-down. Returns when it ends, in monotonic milliseconds. A wrong setting begins none, so that a mended
    /// secret file counts at once; a panic begins none, because the next call may succeed.
    pub(super) fn begin_cool_down(&self, error: &AuthenticationError) -> i64 {
        let now = self.clock.now();
        if matches!(error.kind(), AuthenticationErrorKind::Configuration | AuthenticationErrorKind::Panicked)
        {
            return now.monotonic_millis();
        }
        let until = self.failures.lock().record(error, self.cool_down_limits(), now, rt::random());
        if let Some(entry) = self.slot.entry() {
            entry.plan_renewal(now, until);
        }
        until
    }

    pub(super) fn cool_down_limits(&self) -> CoolDownLimits {
        CoolDownLimits { token_lasts: self.usable_time_left(), max_retry_after: self.max_retry_after }
    }

    /// How long callers can go on with the cached token; `None`: they cannot. A token that an API has rejected, or that
    /// another process may have invalidated, does not count.
    pub(super) fn usable_time_left(&self) -> Option<Duration> {
        let now = self.clock.now();
        let entry = self.slot.entry().filter(|entry| {
            entry.is_usable(now)
                && entry.is_trusted(now)
                && self.slot.is_current(entry)
                && !self.slot.was_seen_rejected(entry.id())
        })?;
        let left = entry.times().mandatory.left(now);
        Some(left.map_or(Duration::MAX, |millis| Duration::from_millis(millis.unsigned_abs())))
    }

    /// Remembers the rejection, even if the slot holds another token by now: the manager must not adopt the
    /// rejected one from the storage again. If the manager may renew the token now, it stops handing it out.
    /// While renewals back off, it goes on handing it out: the API may reject only some requests.
    pub(super) fn mark_rejected(&self, rejected: TokenId) {
        // Order: the back-off after a failed background renewal applies only while the cached token is usable.
        // The rejection ends that, so remember it before asking whether the cool-down is over.
        self.slot.remember_rejection(rejected);
        let now = self.clock.now();
        if self.cool_down_left(now).is_zero() {
            self.slot.withhold(rejected, now);
        }
    }

    /// How long until a rejected token may be renewed.
    pub(super) fn next_renewal_in(&self) -> Duration {
        let now = self.clock.now();
        self.cool_down_left(now).max(self.slot.renewal_in(now))
    }

    fn cool_down_left(&self, now: ClockReading) -> Duration {
        let limits = self.cool_down_limits();
        self.failures.lock().last(limits, now).map_or(Duration::ZERO, |(_, left)| left)
    }
}
