use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use forge_core::{AuthenticationError, Credential, Generation, Moment, TokenData, TokenId};

use super::windows::{RenewalTimes, Windows};
use crate::rt;

/// The token at hand. Reading it takes no lock.
pub(crate) struct Slot {
    entry: ArcSwapOption<Entry>,
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
    /// No earlier attempt to renew it ahead, in monotonic milliseconds; `NOT_TRIED`: none was made.
    next_attempt: AtomicI64,
    generation: u64,
    /// Whether the storage has it too. If not, it is all there is.
    is_stored: bool,
    /// What the storage went on holding when it did not take this one: older, whatever it looks like.
    supersedes: Option<TokenId>,
    rejected: AtomicBool,
}

const NOT_TRIED: i64 = i64::MIN;

impl Slot {
    pub(crate) fn new(announcements: Announcements) -> Self {
        Self { entry: ArcSwapOption::empty(), announcements }
    }

    /// The entry, if it may be handed out now.
    pub(crate) fn hit(&self, now: Moment) -> Option<Guard<Option<Arc<Entry>>>> {
        let current = match &self.announcements {
            Announcements::NotNeeded => 0,
            Announcements::Counted(generation) => generation.current(),
            Announcements::None => return None,
        };
        let guard = self.entry.load();
        let entry = guard.as_ref()?;
        (entry.generation == current && entry.is_usable(now)).then_some(guard)
    }

    /// Whether hits can be answered without asking the storage.
    pub(crate) fn is_announced(&self) -> bool {
        !matches!(self.announcements, Announcements::None)
    }

    /// The entry as it is, valid or not.
    pub(crate) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.load_full()
    }

    /// Whether nothing is known to have changed since the entry was made.
    pub(crate) fn is_current(&self, entry: &Entry) -> bool {
        entry.generation == self.generation()
    }

    /// The token at hand, if its refresh token can be trusted not to be spent by somebody else.
    pub(crate) fn refreshable(&self) -> Option<Arc<Entry>> {
        self.entry().filter(|entry| {
            let is_watched = !matches!(self.announcements, Announcements::None);
            !entry.is_stored || (is_watched && self.is_current(entry))
        })
    }

    /// What an entry made from now on must carry to be a hit until the next change.
    pub(crate) fn generation(&self) -> u64 {
        match &self.announcements {
            Announcements::Counted(generation) => generation.current(),
            Announcements::NotNeeded | Announcements::None => 0,
        }
    }

    /// An entry for a token from the storage. If it is the one at hand, what is known of that stays:
    /// when it was first seen, whether it was accepted.
    pub(crate) fn entry_of(
        &self,
        token: TokenData,
        generation: u64,
        windows: Windows,
        now: Moment,
    ) -> Result<Entry, AuthenticationError> {
        match self.entry() {
            Some(known) if *known.credential.token() == token => Ok(Entry {
                credential: Arc::clone(&known.credential),
                times: known.times,
                next_attempt: AtomicI64::new(known.next_attempt.load(Ordering::Relaxed)),
                generation,
                is_stored: true,
                supersedes: None,
                rejected: AtomicBool::new(known.rejected.load(Ordering::Acquire)),
            }),
            _ => Entry::new(token, generation, windows, now),
        }
    }

    pub(crate) fn fill(&self, entry: Arc<Entry>) {
        self.entry.store(Some(entry));
    }

    /// Keeps an entry that is no hit for what is known of its token; the newest reading wins.
    pub(crate) fn remember(&self, entry: &Arc<Entry>) {
        if !self.entry().is_some_and(|known| Arc::ptr_eq(&known.credential, &entry.credential)) {
            self.fill(Arc::clone(entry));
        }
    }

    pub(crate) fn clear(&self) {
        self.entry.store(None);
    }

    pub(crate) fn is_rejected(&self, id: TokenId) -> bool {
        self.entry()
            .is_some_and(|entry| entry.credential.id() == id && entry.rejected.load(Ordering::Acquire))
    }

    /// If this token is at hand and `permit` agrees, it is handed out no more. Says whether it may
    /// be renewed: a token that is not at hand may.
    pub(crate) fn reject(&self, id: TokenId, permit: impl FnOnce(&Credential) -> bool) -> bool {
        let Some(entry) = self.entry().filter(|entry| entry.credential.id() == id) else {
            return true;
        };
        let permitted = permit(&entry.credential);
        if permitted {
            entry.rejected.store(true, Ordering::Release);
        }
        permitted
    }
}

impl Entry {
    pub(crate) fn new(
        token: TokenData,
        generation: u64,
        windows: Windows,
        now: Moment,
    ) -> Result<Self, AuthenticationError> {
        let first_seen = token.issued_at().unwrap_or_else(|| now.wall());
        let token = token.with_issued_at(first_seen);
        let times = windows.of(&token, now, rt::random());
        Ok(Self {
            credential: Arc::new(Credential::new(token)?),
            times,
            next_attempt: AtomicI64::new(NOT_TRIED),
            generation,
            is_stored: true,
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
        Ok(Self {
            credential: Arc::new(credential),
            times: self.times,
            next_attempt: AtomicI64::new(self.next_attempt.load(Ordering::Relaxed)),
            generation: self.generation,
            is_stored: self.is_stored,
            supersedes: self.supersedes,
            rejected: AtomicBool::new(self.rejected.load(Ordering::Acquire)),
        })
    }

    pub(crate) fn times(&self) -> &RenewalTimes {
        &self.times
    }

    /// Whether it should be renewed ahead, by the one who asks. Asking again is answered with no,
    /// until `again_after` milliseconds have passed or a failure says otherwise.
    pub(crate) fn claim_renewal(&self, now: Moment, again_after: i64) -> Option<Claim<'_>> {
        let planned = self.next_attempt.load(Ordering::Relaxed);
        let is_due = if planned == NOT_TRIED {
            self.times.advisory.is_reached(now)
        } else {
            now.monotonic_millis() >= planned
        };
        if !is_due {
            return None;
        }
        let next = now.monotonic_millis().saturating_add(again_after);
        let claimed = self.next_attempt.compare_exchange(planned, next, Ordering::Relaxed, Ordering::Relaxed);
        claimed.is_ok().then_some(Claim { next_attempt: &self.next_attempt, planned })
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
    pub(crate) fn outlive_own_change(&mut self, generation: u64) {
        if generation == self.generation.wrapping_add(1) {
            self.generation = generation;
        }
    }

    /// The storage did not take it, and went on holding another.
    pub(crate) fn is_all_there_is(&mut self, instead_of: Option<TokenId>) {
        self.is_stored = false;
        self.supersedes = instead_of;
    }

    pub(crate) fn supersedes(&self, id: TokenId) -> bool {
        self.supersedes == Some(id)
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.is_stored
    }

    pub(crate) fn is_usable(&self, now: Moment) -> bool {
        !self.times.mandatory.is_reached(now) && !self.rejected.load(Ordering::Acquire)
    }
}

/// The right to renew an entry ahead.
pub(crate) struct Claim<'a> {
    next_attempt: &'a AtomicI64,
    planned: i64,
}

impl Claim<'_> {
    /// It was not used: the next one may.
    pub(crate) fn give_back(self) {
        self.next_attempt.store(self.planned, Ordering::Relaxed);
    }
}
