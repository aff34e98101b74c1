use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use forge_core::{
    AuthenticationError, Credential, Freshness, Generation, Moment, TokenData, TokenId, Version,
};

use super::windows::{OnBothClocks, RenewalTimes, Windows};
use crate::rt::{self, Mutex};

/// The token at hand. Reading it takes no lock.
pub(crate) struct Slot {
    entry: ArcSwapOption<Entry>,
    /// What the storage had as far as was known when the slot was cleared last.
    cleared: Mutex<Option<TokenId>>,
    announcements: Announcements,
}

/// How the slot learns that the storage has another token by now.
pub(crate) enum Announcements {
    /// It need not: nobody else writes.
    NotNeeded,
    /// By a counter.
    Counted(Generation),
    /// Not at all: the storage is asked each time.
    None,
}

/// A token with all that judging it on a hit takes, as integers.
pub(crate) struct Entry {
    credential: Arc<Credential>,
    times: RenewalTimes,
    /// Until then there is nothing to judge but whether it was rejected: what a hit looks at first.
    quiet_until: OnBothClocks,
    /// No earlier attempt to renew it ahead, in monotonic milliseconds; `NOT_TRIED`: none was made.
    next_attempt: AtomicI64,
    version: Version,
    /// When to compare it with the storage's next, in monotonic milliseconds.
    recheck_at: AtomicI64,
    recheck_after: i64,
    /// Not handed out any more from here on, unless it was compared, in monotonic milliseconds.
    trusted_until: i64,
    /// Whether the storage has it too. If not, it is all there is.
    is_stored: bool,
    /// Whether nobody else can have it.
    is_private: bool,
    /// Whether it may serve those who come later, too.
    is_for_all: bool,
    /// What the storage went on holding when it did not take this one: older, whatever it looks like.
    supersedes: Option<TokenId>,
    rejected: AtomicBool,
}

const NOT_TRIED: i64 = i64::MIN;

/// What an entry must carry to be a hit until the next change.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    version: Version,
    recheck_at: i64,
    recheck_after: i64,
    trusted_until: i64,
}

impl Stamp {
    fn quiet_until(&self, times: &RenewalTimes) -> OnBothClocks {
        let asked_about = OnBothClocks::monotonic(self.recheck_at.min(self.trusted_until));
        times.advisory.or_sooner(times.mandatory).or_sooner(asked_about)
    }
}

impl Slot {
    pub(crate) fn new(announcements: Announcements) -> Self {
        Self { entry: ArcSwapOption::empty(), cleared: Mutex::new(None), announcements }
    }

    /// The entry, if it may be handed out now. Tells `attend` of one about which something is due.
    #[expect(clippy::inline_always, reason = "a hit is hardly more than this")]
    #[inline(always)]
    pub(crate) fn hit(&self, now: Moment, attend: impl FnOnce(&Entry)) -> Option<Guard<Option<Arc<Entry>>>> {
        let current = match &self.announcements {
            Announcements::NotNeeded => Version::default(),
            Announcements::Counted(generation) => generation.current(),
            Announcements::None => return None,
        };
        let guard = self.entry.load();
        let entry = guard.as_ref()?;
        if entry.version != current {
            return None;
        }
        if !entry.is_quiet(now) {
            if !entry.is_trusted(now) || !entry.is_usable(now) {
                return None;
            }
            attend(entry);
        }
        Some(guard)
    }

    /// Whether hits can be answered without asking the storage.
    pub(crate) fn is_announced(&self) -> bool {
        !matches!(self.announcements, Announcements::None)
    }

    /// The entry as it is, valid or not.
    pub(crate) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.load_full()
    }

    /// Whether there was neither change nor doubt since the stamp was taken.
    pub(crate) fn is_unchanged(&self, stamp: Stamp) -> bool {
        stamp.version == self.version()
    }

    /// Whether nothing is known to have changed since the entry was made.
    pub(crate) fn is_current(&self, entry: &Entry) -> bool {
        entry.version.has_same_changes(self.version())
    }

    /// The token at hand, if its refresh token can be trusted not to be spent by somebody else.
    pub(crate) fn refreshable(&self) -> Option<Arc<Entry>> {
        self.entry().filter(|entry| {
            let is_watched = !matches!(self.announcements, Announcements::None);
            (!entry.is_stored || is_watched) && self.is_current(entry)
        })
    }

    /// For an entry made from now on. Take it before the storage is read.
    pub(crate) fn stamp(&self, now: Moment) -> Stamp {
        let version = self.version();
        let Some(Freshness { recheck_after, trusted_for }) = self.freshness() else {
            return Stamp { version, recheck_at: i64::MAX, recheck_after: i64::MAX, trusted_until: i64::MAX };
        };
        // Up to a quarter more, so that a fleet does not ask as one.
        let jittered = |delay: Duration| {
            let quarter = Duration::from_millis(u64::try_from((delay / 4).as_millis()).unwrap_or(u64::MAX));
            let delay = delay.saturating_add(quarter.mul_f64(rt::random()));
            i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
        };
        let after = |delay: i64| now.monotonic_millis().saturating_add(delay);
        let recheck_after = jittered(recheck_after);
        Stamp {
            version,
            recheck_at: after(recheck_after),
            recheck_after,
            trusted_until: after(jittered(trusted_for)),
        }
    }

    /// An entry for a token from the storage. If it is the one at hand, what is known of that stays:
    /// when it was first seen, whether it was accepted.
    pub(crate) fn entry_of(
        &self,
        token: TokenData,
        stamp: Stamp,
        windows: Windows,
        now: Moment,
    ) -> Result<Entry, AuthenticationError> {
        match self.entry() {
            Some(known) if is_same(known.credential.token(), &token) => Ok(known.as_stored(stamp)),
            _ => Entry::new(token, stamp, windows, now),
        }
    }

    /// The same entry, as one that has missed no change. When it was last compared stays.
    pub(crate) fn renewed(&self, entry: &Arc<Entry>) -> Arc<Entry> {
        let version = self.version();
        if entry.version == version {
            return Arc::clone(entry);
        }
        Arc::new(entry.stamped(Stamp { version, ..entry.stamp() }))
    }

    fn version(&self) -> Version {
        match &self.announcements {
            Announcements::Counted(generation) => generation.current(),
            Announcements::NotNeeded | Announcements::None => Version::default(),
        }
    }

    fn freshness(&self) -> Option<Freshness> {
        match &self.announcements {
            Announcements::Counted(generation) => generation.freshness(),
            Announcements::NotNeeded | Announcements::None => None,
        }
    }

    pub(crate) fn fill(&self, entry: &Arc<Entry>) {
        let before = self.entry.swap(Some(Arc::clone(entry)));
        // It may have been rejected since the new entry was made of it; see `reject`.
        if before.is_some_and(|before| before.is_same(entry) && before.rejected.load(Ordering::Acquire)) {
            entry.rejected.store(true, Ordering::Release);
        }
    }

    /// Keeps an entry that is no hit for what is known of its token; the newest reading wins.
    pub(crate) fn remember(&self, entry: &Arc<Entry>) {
        if !self.entry().is_some_and(|known| known.is_same(entry)) {
            self.fill(entry);
        }
    }

    pub(crate) fn clear(&self) {
        let stored = self.stored();
        *self.cleared.lock() = stored;
        self.entry.store(None);
    }

    /// What the storage has, as far as is known here: for when it cannot be asked.
    pub(crate) fn stored(&self) -> Option<TokenId> {
        match self.entry() {
            Some(entry) if entry.is_stored => Some(entry.credential.id()),
            Some(entry) => entry.supersedes,
            None => *self.cleared.lock(),
        }
    }

    pub(crate) fn is_rejected(&self, id: TokenId) -> bool {
        self.entry()
            .is_some_and(|entry| entry.credential.id() == id && entry.rejected.load(Ordering::Acquire))
    }

    /// If this token is at hand and `permit` agrees, it is handed out no more. Says whether it may
    /// be renewed: a token that is not at hand may.
    pub(crate) fn reject(&self, id: TokenId, permit: impl FnOnce(&Credential) -> bool) -> bool {
        let at_hand = || self.entry().filter(|entry| entry.credential.id() == id);
        let Some(mut entry) = at_hand() else { return true };
        if !permit(&entry.credential) {
            return false;
        }
        loop {
            entry.rejected.store(true, Ordering::Release);
            // It may have been filled anew meanwhile, with a copy made before.
            match at_hand() {
                Some(newer) if !Arc::ptr_eq(&newer, &entry) => entry = newer,
                _ => return true,
            }
        }
    }
}

impl Entry {
    pub(crate) fn new(
        token: TokenData,
        stamp: Stamp,
        windows: Windows,
        now: Moment,
    ) -> Result<Self, AuthenticationError> {
        Self::with_jitter(token, stamp, windows, now, rt::random())
    }

    fn with_jitter(
        token: TokenData,
        stamp: Stamp,
        windows: Windows,
        now: Moment,
        random: f64,
    ) -> Result<Self, AuthenticationError> {
        // Where the issue time is unknown, as of a record with the documents' six fields, it stays so. Counted
        // from now, what is left would pass for the whole life, and half of it for the margin.
        let times = windows.of(&token, now, random);
        Ok(Self {
            credential: Arc::new(Credential::new(token)?),
            times,
            quiet_until: stamp.quiet_until(&times),
            next_attempt: AtomicI64::new(NOT_TRIED),
            version: stamp.version,
            recheck_at: AtomicI64::new(stamp.recheck_at),
            recheck_after: stamp.recheck_after,
            trusted_until: stamp.trusted_until,
            is_stored: true,
            is_private: false,
            is_for_all: true,
            supersedes: None,
            rejected: AtomicBool::new(false),
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

    fn stamp(&self) -> Stamp {
        Stamp {
            version: self.version,
            recheck_at: self.recheck_at.load(Ordering::Relaxed),
            recheck_after: self.recheck_after,
            trusted_until: self.trusted_until,
        }
    }

    /// The same, as one that the storage has, or is to have.
    pub(crate) fn as_stored(&self, stamp: Stamp) -> Self {
        Self { is_stored: true, is_private: false, supersedes: None, ..self.stamped(stamp) }
    }

    /// The same, with another stamp.
    fn stamped(&self, stamp: Stamp) -> Self {
        Self {
            credential: Arc::clone(&self.credential),
            times: self.times,
            quiet_until: stamp.quiet_until(&self.times),
            next_attempt: AtomicI64::new(self.next_attempt.load(Ordering::Relaxed)),
            version: stamp.version,
            recheck_at: AtomicI64::new(stamp.recheck_at),
            recheck_after: stamp.recheck_after,
            trusted_until: stamp.trusted_until,
            is_stored: self.is_stored,
            is_private: self.is_private,
            is_for_all: self.is_for_all,
            supersedes: self.supersedes,
            rejected: AtomicBool::new(self.rejected.load(Ordering::Acquire)),
        }
    }

    /// Whether the other one is about the same credential.
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.credential, &other.credential)
    }

    pub(crate) fn times(&self) -> &RenewalTimes {
        &self.times
    }

    /// Whether it should be renewed ahead, by the one who asks. Asking again is answered with no,
    /// until `again_after` milliseconds have passed or a failure says otherwise.
    pub(crate) fn claim_renewal(&self, now: Moment, again_after: impl FnOnce() -> i64) -> Option<Claim<'_>> {
        let planned = self.next_attempt.load(Ordering::Relaxed);
        let is_due = if planned == NOT_TRIED {
            self.times.advisory.is_reached(now)
        } else {
            now.monotonic_millis() >= planned
        };
        if is_due { Claim::lay(&self.next_attempt, planned, now, again_after()) } else { None }
    }

    /// As [`claim_renewal`](Self::claim_renewal), for comparing it with the storage's.
    pub(crate) fn claim_recheck(&self, now: Moment) -> Option<Claim<'_>> {
        let planned = self.recheck_at.load(Ordering::Relaxed);
        let is_due = now.monotonic_millis() >= planned;
        if is_due { Claim::lay(&self.recheck_at, planned, now, self.recheck_after) } else { None }
    }

    /// An attempt failed: within its advisory window, the next one comes at this monotonic time.
    pub(crate) fn plan_renewal(&self, now: Moment, monotonic_millis: i64) {
        if self.times.advisory.is_reached(now) {
            self.next_attempt.store(monotonic_millis.max(NOT_TRIED + 1), Ordering::Relaxed);
        }
    }

    /// When the next attempt to renew it ahead is due, in milliseconds from now.
    pub(crate) fn renewal_in(&self, now: Moment) -> Option<i64> {
        match self.next_attempt.load(Ordering::Relaxed) {
            NOT_TRIED => self.times.advisory.left(now),
            planned => Some(planned.saturating_sub(now.monotonic_millis()).max(0)),
        }
    }

    pub(crate) fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// The token was stored: one change since the entry was made is our own. Of more, somebody
    /// else's may be the last, and the entry stays behind.
    pub(crate) fn outlive_own_change(&mut self, stamp: Stamp) {
        if stamp.version.is_next_after(self.version) {
            self.version = stamp.version;
        }
    }

    /// The storage did not take it, as far as we know, and may go on holding another. If it was not even
    /// told, nobody else has this one, or can say that it is of no use.
    pub(crate) fn is_all_there_is(&mut self, instead_of: Option<TokenId>, is_private: bool, stamp: Stamp) {
        self.version = stamp.version;
        self.trusted_until = if is_private { i64::MAX } else { stamp.trusted_until };
        self.quiet_until = self.stamp().quiet_until(&self.times);
        self.is_stored = false;
        self.is_private = is_private;
        self.supersedes = instead_of;
    }

    /// The storage refused it, and has no other.
    pub(crate) fn is_for_those_who_wait(&mut self) {
        self.is_for_all = false;
    }

    pub(crate) fn is_for_all(&self) -> bool {
        self.is_for_all
    }

    pub(crate) fn is_private(&self) -> bool {
        self.is_private
    }

    pub(crate) fn supersedes(&self, id: TokenId) -> bool {
        self.supersedes == Some(id)
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Whether it was compared with the storage's lately enough.
    pub(crate) fn is_trusted(&self, now: Moment) -> bool {
        now.monotonic_millis() < self.trusted_until
    }

    #[inline]
    pub(crate) fn is_rejected(&self) -> bool {
        self.rejected.load(Ordering::Acquire)
    }

    /// Whether it may be handed out, and nothing is due about it.
    #[inline]
    fn is_quiet(&self, now: Moment) -> bool {
        !self.quiet_until.is_reached(now) && !self.is_rejected()
    }

    pub(crate) fn is_usable(&self, now: Moment) -> bool {
        !self.times.mandatory.is_reached(now) && !self.is_rejected()
    }
}

/// Whether two readings are of one token. A storage may round its expiry, or count by another clock.
fn is_same(one: &TokenData, other: &TokenData) -> bool {
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
    fn lay(cell: &'a AtomicI64, planned: i64, now: Moment, again_after: i64) -> Option<Self> {
        let next = now.monotonic_millis().saturating_add(again_after);
        let laid = cell.compare_exchange(planned, next, Ordering::Relaxed, Ordering::Relaxed);
        laid.is_ok().then_some(Self { cell, planned })
    }

    /// It was not used: the next one may.
    pub(crate) fn give_back(self) {
        self.cell.store(self.planned, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREVER: i64 = i64::MAX;

    fn entry(lifetime: u64, recheck_at: i64, trusted_until: i64) -> Entry {
        let now = Moment::from_millis(1_000_000, 0);
        let token = TokenData::new("t")
            .with_issued_at(now.wall())
            .with_expires_at(now.wall() + Duration::from_secs(lifetime));
        let stamp = Stamp { version: Version::default(), recheck_at, recheck_after: FOREVER, trusted_until };
        let windows = Windows { advisory: Duration::from_secs(300), mandatory: Duration::from_secs(30) };
        Entry::with_jitter(token, stamp, windows, now, 0.0).unwrap()
    }

    fn is_quiet_after(entry: &Entry, millis: i64) -> bool {
        entry.is_quiet(Moment::from_millis(1_000_000 + millis, millis))
    }

    #[test]
    fn a_hit_looks_at_nothing_else_only_while_nothing_is_due() {
        let usual = entry(3600, FOREVER, FOREVER);
        assert!(is_quiet_after(&usual, 3_299_999) && !is_quiet_after(&usual, 3_300_000));
        let (compared, trusted) = (entry(3600, 10_000, FOREVER), entry(3600, FOREVER, 20_000));
        assert!(is_quiet_after(&compared, 9_999) && !is_quiet_after(&compared, 10_000));
        assert!(is_quiet_after(&trusted, 19_999) && !is_quiet_after(&trusted, 20_000));
        usual.rejected.store(true, Ordering::Release);
        assert!(!is_quiet_after(&usual, 0));
    }

    #[test]
    fn inv10_either_clock_ends_the_quiet() {
        let entry = entry(3600, FOREVER, FOREVER);
        assert!(!entry.is_quiet(Moment::from_millis(1_000_000 + 3_400_000, 0)));
        assert!(!entry.is_quiet(Moment::from_millis(1_000_000, 3_400_000)));
    }
}
