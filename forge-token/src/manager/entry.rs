use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use forge_core::{AuthenticationError, ClockReading, Credential, GenerationStamp, TokenData, TokenId};

use super::windows::{DualClockTime, RenewalTimes, Windows};
use crate::rt;

/// A cached token with its deadlines precomputed as integers, so that a hit only compares numbers.
pub(crate) struct Entry {
    credential: Arc<Credential>,
    times: RenewalTimes,
    /// The first deadline of all. Before it a hit only checks whether the token was rejected.
    quiet_until: DualClockTime,
    /// When the next background renewal may begin, in monotonic milliseconds; `NOT_TRIED`: none has begun yet.
    next_attempt: AtomicI64,
    generation: GenerationStamp,
    /// When to compare the token with the storage's next, in monotonic milliseconds.
    recheck_at: AtomicI64,
    recheck_after: i64,
    /// When the slot stops handing the token out unless it was compared, in monotonic milliseconds.
    trusted_until: i64,
    custody: Custody,
    rejected: AtomicBool,
    /// Whether the provider issued the token and the slot has not had it yet. An issuer may issue a rejected token once
    /// more, and then it is a hit again.
    is_new: AtomicBool,
    /// Whether the manager may have missed a change since it last compared the token with the storage's.
    was_uncertain: bool,
}

/// Whether the storage and other processes have the token too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Custody {
    /// The storage has it too, or the manager has no storage.
    Stored,
    /// The storage did not answer the write. It and other processes may have the token, or the storage still holds
    /// the token that this one replaces, which is older whatever it looks like.
    Unconfirmed { replaces: Option<TokenId> },
    /// The token was not sent to the storage: no other process has it, or can say that it is of no use. The storage
    /// still holds the token that this one replaces.
    Private { replaces: Option<TokenId> },
    /// The storage refused the token and has no other: the key was invalidated meanwhile. The token serves the
    /// callers that wait for it, and never enters the slot.
    WaitersOnly,
}

const NOT_TRIED: i64 = i64::MIN;

/// The generation of the storage that an entry belongs to, and how long it is trusted without a comparison.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(super) generation: GenerationStamp,
    pub(super) recheck_at: i64,
    pub(super) recheck_after: i64,
    pub(super) trusted_until: i64,
}

impl Stamp {
    fn quiet_until(&self, times: &RenewalTimes) -> DualClockTime {
        let asked_about = DualClockTime::monotonic(self.recheck_at.min(self.trusted_until));
        times.advisory.or_sooner(times.mandatory).or_sooner(asked_about)
    }
}

impl Entry {
    pub(crate) fn new(
        token: TokenData,
        stamp: Stamp,
        windows: Windows,
        now: ClockReading,
    ) -> Result<Self, AuthenticationError> {
        Self::with_jitter(token, stamp, windows, now, rt::random())
    }

    /// An entry for a token that the provider has just issued.
    pub(crate) fn issued(
        token: TokenData,
        stamp: Stamp,
        windows: Windows,
        now: ClockReading,
    ) -> Result<Self, AuthenticationError> {
        Ok(Self { is_new: AtomicBool::new(true), ..Self::new(token, stamp, windows, now)? })
    }

    fn with_jitter(
        token: TokenData,
        stamp: Stamp,
        windows: Windows,
        now: ClockReading,
        random: f64,
    ) -> Result<Self, AuthenticationError> {
        // Do not guess an unknown issue time (of a record from the Python library). If the lifetime were
        // counted from now, the time left would pass for the whole lifetime, and the margin would shrink to
        // half of it.
        let times = windows.of(&token, now, random);
        Ok(Self {
            credential: Arc::new(Credential::new(token)?),
            times,
            quiet_until: stamp.quiet_until(&times),
            next_attempt: AtomicI64::new(NOT_TRIED),
            generation: stamp.generation,
            recheck_at: AtomicI64::new(stamp.recheck_at),
            recheck_after: stamp.recheck_after,
            trusted_until: stamp.trusted_until,
            custody: Custody::Stored,
            rejected: AtomicBool::new(false),
            is_new: AtomicBool::new(false),
            was_uncertain: false,
        })
    }

    /// The same access token with another refresh token.
    pub(crate) fn with_refresh_token(&self, refresh_token: &str) -> Result<Self, AuthenticationError> {
        let token = self.credential.token().clone().with_refresh_token(refresh_token);
        let credential = Credential::new(token)?;
        if self.credential.was_accepted() {
            credential.mark_accepted();
        }
        Ok(Self { credential: Arc::new(credential), ..self.stamped(self.stamp()) })
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            generation: self.generation,
            recheck_at: self.recheck_at.load(Ordering::Relaxed),
            recheck_after: self.recheck_after,
            trusted_until: self.trusted_until,
        }
    }

    /// The same token as one that the storage has, or is about to get.
    pub(crate) fn as_stored(&self, stamp: Stamp) -> Self {
        Self { custody: Custody::Stored, was_uncertain: false, ..self.stamped(stamp) }
    }

    /// The same, with another stamp.
    pub(super) fn stamped(&self, stamp: Stamp) -> Self {
        Self {
            credential: Arc::clone(&self.credential),
            times: self.times,
            quiet_until: stamp.quiet_until(&self.times),
            next_attempt: AtomicI64::new(self.next_attempt.load(Ordering::Relaxed)),
            generation: stamp.generation,
            recheck_at: AtomicI64::new(stamp.recheck_at),
            recheck_after: stamp.recheck_after,
            trusted_until: stamp.trusted_until,
            custody: self.custody,
            rejected: AtomicBool::new(self.rejected.load(Ordering::Acquire)),
            is_new: AtomicBool::new(false),
            was_uncertain: self.was_uncertain,
        }
    }

    /// The same token, used while the storage does not answer: the manager may have missed a change.
    pub(super) fn with_uncertainty(self) -> Self {
        Self { was_uncertain: true, ..self }
    }

    /// Whether a change may have been missed since it was last compared with the storage's.
    pub(super) fn was_uncertain(&self) -> bool {
        self.was_uncertain
    }

    /// Whether the other one is about the same credential.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.credential, &other.credential)
    }

    pub(crate) fn times(&self) -> &RenewalTimes {
        &self.times
    }

    /// The right to renew the token in the background, if that is due. Race: of several threads one gets the claim. The
    /// next claim is due `again_after` milliseconds later, in case this renewal is lost, or when a failure says so.
    pub(crate) fn claim_renewal(
        &self,
        now: ClockReading,
        again_after: impl FnOnce() -> i64,
    ) -> Option<Claim<'_>> {
        let planned = self.next_attempt.load(Ordering::Relaxed);
        let is_due = if planned == NOT_TRIED {
            self.times.advisory.is_reached(now)
        } else {
            now.monotonic_millis() >= planned
        };
        if is_due { Claim::try_new(&self.next_attempt, planned, now, again_after()) } else { None }
    }

    /// As [`claim_renewal`](Self::claim_renewal), for comparing it with the storage's.
    pub(crate) fn claim_recheck(&self, now: ClockReading) -> Option<Claim<'_>> {
        let planned = self.recheck_at.load(Ordering::Relaxed);
        let is_due = now.monotonic_millis() >= planned;
        if is_due { Claim::try_new(&self.recheck_at, planned, now, self.recheck_after) } else { None }
    }

    /// An attempt failed: within its advisory window, the next one comes at this monotonic time.
    pub(crate) fn plan_renewal(&self, now: ClockReading, monotonic_millis: i64) {
        if self.times.advisory.is_reached(now) {
            self.next_attempt.store(monotonic_millis.max(NOT_TRIED + 1), Ordering::Relaxed);
        }
    }

    /// When the next attempt to renew it ahead is due, in milliseconds from now.
    pub(crate) fn renewal_in(&self, now: ClockReading) -> Option<i64> {
        match self.next_attempt.load(Ordering::Relaxed) {
            NOT_TRIED => self.times.advisory.left(now),
            planned => Some(planned.saturating_sub(now.monotonic_millis()).max(0)),
        }
    }

    pub(crate) fn id(&self) -> TokenId {
        self.credential.id()
    }

    #[inline]
    pub(super) fn generation(&self) -> GenerationStamp {
        self.generation
    }

    pub(crate) fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// The token was stored. If the generation has moved by one since the entry was made, that was this write. If it has
    /// moved further, another process may have made the last change, so the entry stays stale.
    pub(crate) fn mark_stored(&mut self, stamp: Stamp) {
        if stamp.generation.is_next_after(self.generation) {
            self.generation = stamp.generation;
        }
        if !self.is_stored() {
            // The entry was made from one that the storage lacked. From now on other processes have its refresh token,
            // and may replace the token, so its trust must end.
            self.custody = Custody::Stored;
            self.trusted_until = stamp.trusted_until;
            self.quiet_until = self.stamp().quiet_until(&self.times);
        }
    }

    /// The token was not sent to the storage. No other process can know that it is of no use, so its trust never
    /// ends.
    pub(crate) fn mark_private(&mut self, replaces: Option<TokenId>, stamp: Stamp) {
        self.mark_unstored(Custody::Private { replaces }, Stamp { trusted_until: i64::MAX, ..stamp });
    }

    /// The storage did not answer the write.
    pub(crate) fn mark_unconfirmed(&mut self, replaces: Option<TokenId>, stamp: Stamp) {
        self.mark_unstored(Custody::Unconfirmed { replaces }, stamp);
    }

    fn mark_unstored(&mut self, custody: Custody, stamp: Stamp) {
        self.generation = stamp.generation;
        self.trusted_until = stamp.trusted_until;
        self.quiet_until = self.stamp().quiet_until(&self.times);
        self.custody = custody;
    }

    /// The storage refused the token, and has no other.
    pub(crate) fn restrict_to_waiters(&mut self) {
        self.custody = Custody::WaitersOnly;
    }

    /// Whether the token may enter the slot, for callers that come later.
    pub(crate) fn is_for_all(&self) -> bool {
        self.custody != Custody::WaitersOnly
    }

    pub(crate) fn is_private(&self) -> bool {
        matches!(self.custody, Custody::Private { .. })
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.custody == Custody::Stored
    }

    /// The token that the storage has, as far as the manager knows.
    pub(super) fn stored(&self) -> Option<TokenId> {
        match self.custody {
            Custody::Stored => Some(self.id()),
            Custody::Unconfirmed { replaces } | Custody::Private { replaces } => replaces,
            Custody::WaitersOnly => None,
        }
    }

    /// Whether this token replaces that one, which the storage may still hold.
    pub(crate) fn supersedes(&self, id: TokenId) -> bool {
        matches!(self.custody, Custody::Unconfirmed { replaces } | Custody::Private { replaces } if replaces == Some(id))
    }

    /// Whether the token was compared with the storage's lately enough.
    pub(crate) fn is_trusted(&self, now: ClockReading) -> bool {
        now.monotonic_millis() < self.trusted_until
    }

    pub(super) fn reject(&self) {
        self.rejected.store(true, Ordering::Release);
    }

    /// Whether the provider issued the token and the slot has not had it so far. True once.
    pub(super) fn take_newness(&self) -> bool {
        self.is_new.swap(false, Ordering::AcqRel)
    }

    #[inline]
    pub(crate) fn is_rejected(&self) -> bool {
        self.rejected.load(Ordering::Acquire)
    }

    /// Whether the token may be handed out, and neither its renewal nor its comparison is due.
    #[inline]
    pub(super) fn is_quiet(&self, now: ClockReading) -> bool {
        !self.quiet_until.is_reached(now) && !self.is_rejected()
    }

    pub(crate) fn is_usable(&self, now: ClockReading) -> bool {
        !self.times.mandatory.is_reached(now) && !self.is_rejected()
    }
}

/// Whether two records are of one token. A storage may round the expiry, or correct it by another clock.
pub(super) fn are_same_token(one: &TokenData, other: &TokenData) -> bool {
    let expiries = one.expires_at().zip(other.expires_at());
    let are_close = expiries.map_or(one.expires_at() == other.expires_at(), |(one, other)| {
        one.signed_duration_since(other).num_milliseconds().unsigned_abs() < 2_000
    });
    let same_expiry = |token: &TokenData| match one.expires_at() {
        Some(at) => token.clone().with_expires_at(at),
        None => token.clone(),
    };
    are_close && *one == same_expiry(other)
}

/// The right to do something about an entry in the background.
pub(crate) struct Claim<'a> {
    cell: &'a AtomicI64,
    planned: i64,
}

impl<'a> Claim<'a> {
    fn try_new(cell: &'a AtomicI64, planned: i64, now: ClockReading, again_after: i64) -> Option<Self> {
        let next = now.monotonic_millis().saturating_add(again_after);
        let laid = cell.compare_exchange(planned, next, Ordering::Relaxed, Ordering::Relaxed);
        laid.is_ok().then_some(Self { cell, planned })
    }

    /// Makes the work due again: this claim was not used.
    pub(crate) fn give_back(self) {
        self.cell.store(self.planned, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FOREVER: i64 = i64::MAX;

    fn entry(lifetime: u64, recheck_at: i64, trusted_until: i64) -> Entry {
        let now = ClockReading::from_millis(1_000_000, 0);
        let token = TokenData::new("t")
            .with_issued_at(now.wall())
            .with_expires_at(now.wall() + Duration::from_secs(lifetime));
        let stamp = Stamp {
            generation: GenerationStamp::default(),
            recheck_at,
            recheck_after: FOREVER,
            trusted_until,
        };
        let windows = Windows { advisory: Duration::from_secs(300), mandatory: Duration::from_secs(30) };
        Entry::with_jitter(token, stamp, windows, now, 0.0).unwrap()
    }

    fn is_quiet_after(entry: &Entry, millis: i64) -> bool {
        entry.is_quiet(ClockReading::from_millis(1_000_000 + millis, millis))
    }

    #[test]
    fn a_hit_looks_at_nothing_else_only_while_nothing_is_due() {
        let usual = entry(3600, FOREVER, FOREVER);
        assert!(is_quiet_after(&usual, 3_299_999) && !is_quiet_after(&usual, 3_300_000));
        let (compared, trusted) = (entry(3600, 10_000, FOREVER), entry(3600, FOREVER, 20_000));
        assert!(is_quiet_after(&compared, 9_999) && !is_quiet_after(&compared, 10_000));
        assert!(is_quiet_after(&trusted, 19_999) && !is_quiet_after(&trusted, 20_000));
        usual.reject();
        assert!(!is_quiet_after(&usual, 0));
    }

    #[test]
    fn inv10_either_clock_ends_the_quiet() {
        let entry = entry(3600, FOREVER, FOREVER);
        assert!(!entry.is_quiet(ClockReading::from_millis(1_000_000 + 3_400_000, 0)));
        assert!(!entry.is_quiet(ClockReading::from_millis(1_000_000, 3_400_000)));
    }

    #[test]
    fn custody_says_what_the_storage_has() {
        let other = TokenId::of("other");
        let stamp = entry(3600, FOREVER, 20_000).stamp();
        let with = |change: fn(&mut Entry, TokenId, Stamp)| {
            let mut entry = entry(3600, FOREVER, 20_000);
            change(&mut entry, other, stamp);
            entry
        };
        let stored = with(|_, _, _| ());
        assert!(stored.is_stored() && !stored.is_private() && stored.is_for_all());
        assert!(stored.stored() == Some(stored.id()) && !stored.supersedes(other));
        let unconfirmed = with(|entry, other, stamp| entry.mark_unconfirmed(Some(other), stamp));
        assert!(!unconfirmed.is_stored() && !unconfirmed.is_private() && unconfirmed.is_for_all());
        assert!(unconfirmed.stored() == Some(other) && unconfirmed.supersedes(other));
        assert!(!unconfirmed.is_trusted(ClockReading::from_millis(1_000_000, 20_000)));
        let private = with(|entry, other, stamp| entry.mark_private(Some(other), stamp));
        assert!(!private.is_stored() && private.is_private() && private.is_for_all());
        assert!(private.stored() == Some(other) && private.supersedes(other));
        assert!(private.is_trusted(ClockReading::from_millis(1_000_000, 20_000)));
        let waiters_only = with(|entry, _, _| entry.restrict_to_waiters());
        assert!(!waiters_only.is_stored() && !waiters_only.is_private() && !waiters_only.is_for_all());
        assert!(waiters_only.stored().is_none() && !waiters_only.supersedes(other));
    }
}
