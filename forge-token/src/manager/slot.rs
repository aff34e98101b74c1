//! The slot that holds the cached token, and the rejections of tokens.
//!
//! Three questions about changes in the storage, which other processes make:
//!
//! | method | true if |
//! | --- | --- |
//! | `is_unchanged(stamp)` | since the stamp was taken there was neither a change nor an uncertainty |
//! | `is_current(entry)` | since the entry was made there was no change; there may have been an uncertainty |
//! | `is_certain(entry)` | since the entry was made there was neither, and the entry was never uncertain |
//!
//! An uncertainty: the manager may have missed a change, because it lost its connection to the storage for example.
//!
//! Three questions about a rejected token:
//!
//! | method | true if |
//! | --- | --- |
//! | `was_seen_rejected(id)` | an API has rejected the token, whether or not the manager still hands it out |
//! | `is_rejected(id)` | the manager must not hand the token out because of that |
//! | `was_replaced(id)` | an API has rejected the token, and the slot holds another one |
//!
//! Four reactions to a rejection:
//!
//! | method | remembers the rejection | stops handing the token out | counts a renewal |
//! | --- | --- | --- | --- |
//! | `remember_rejection(id)` | yes | only if the slot does not hold it | no |
//! | `withhold(id)` | no | unless renewals back off | when it begins |
//! | `reject(id)` | yes | unless renewals back off | at once |
//! | `discard(id)` | yes | always | no |

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use forge_core::{
    AuthenticationError, ClockReading, Generation, GenerationStamp, StalenessLimits, TokenData, TokenId,
};

use super::entry::are_same_token;
pub(crate) use super::entry::{Claim, Entry, Stamp};
use super::rejections::Rejections;
use super::windows::Windows;
use crate::rt::{self, Mutex};

/// Holds the cached token. Reading it takes no lock.
pub(crate) struct Slot {
    entry: ArcSwapOption<Entry>,
    /// A thread that changes `entry`, or the facts about it, holds this lock meanwhile.
    ledger: Mutex<Ledger>,
    change_detection: ChangeDetection,
}

/// State that changes in one step with the entry.
struct Ledger {
    /// The number of clears and of fills by a flight. Race: an invalidation or a flight overtakes a read of
    /// the storage. The reader compares this count before and after, and drops the token that it has read if the counts differ.
    changes: u64,
    /// The token that the storage had when the slot was last cleared, as far as the manager knew.
    cleared: Option<TokenId>,
    rejections: Rejections,
}

/// The slot's change count before the storage was read.
#[derive(Clone, Copy)]
pub(crate) struct ChangeCount {
    changes: u64,
}

/// How the slot learns that another process has changed the token in the storage.
pub(crate) enum ChangeDetection {
    /// There is no storage, so no other process can change the token.
    NotNeeded,
    /// The storage counts the changes.
    Counted(Generation),
    /// Never: the manager asks the storage each time.
    None,
}

impl Slot {
    pub(crate) fn new(change_detection: ChangeDetection) -> Self {
        let ledger = Ledger { changes: 0, cleared: None, rejections: Rejections::new() };
        Self { entry: ArcSwapOption::empty(), ledger: Mutex::new(ledger), change_detection }
    }

    /// The entry, if it may be handed out now. Calls `attend` if its renewal or its comparison with the storage is due.
    #[expect(clippy::inline_always, reason = "a hit is hardly more than this")]
    #[inline(always)]
    pub(crate) fn hit(
        &self,
        now: ClockReading,
        attend: impl FnOnce(&Entry),
    ) -> Option<Guard<Option<Arc<Entry>>>> {
        let current = match &self.change_detection {
            ChangeDetection::NotNeeded => GenerationStamp::default(),
            ChangeDetection::Counted(generation) => generation.current(),
            ChangeDetection::None => return None,
        };
        let guard = self.entry.load();
        let entry = guard.as_ref()?;
        if entry.generation() != current {
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
        !matches!(self.change_detection, ChangeDetection::None)
    }

    /// The entry as it is, valid or not.
    pub(crate) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.load_full()
    }

    /// Whether there was neither a change nor an uncertainty since the stamp was taken.
    pub(crate) fn is_unchanged(&self, stamp: Stamp) -> bool {
        stamp.generation == self.generation()
    }

    /// Whether nothing is known to have changed since the entry was made.
    pub(crate) fn is_current(&self, entry: &Entry) -> bool {
        entry.generation().has_same_changes(self.generation())
    }

    /// Whether the entry has missed neither a change nor an uncertainty.
    pub(crate) fn is_certain(&self, entry: &Entry) -> bool {
        entry.generation() == self.generation() && !entry.was_uncertain()
    }

    /// Whether the manager remembers a rejection of this token, even one that it has answered with a
    /// renewal.
    pub(crate) fn was_seen_rejected(&self, id: TokenId) -> bool {
        self.ledger.lock().rejections.has_seen(id)
    }

    /// The cached token, if the manager would know that another process has used its refresh token.
    pub(crate) fn refreshable(&self) -> Option<Arc<Entry>> {
        self.entry().filter(|entry| {
            let is_watched = !matches!(self.change_detection, ChangeDetection::None);
            (!entry.is_stored() || is_watched) && self.is_current(entry)
        })
    }

    /// The stamp of an entry that is made from now on. Order: take it before the storage is read. A change in between
    /// then makes the entry stale, never fresh by mistake.
    pub(crate) fn stamp(&self, now: ClockReading) -> Stamp {
        let generation = self.generation();
        let Some(StalenessLimits { recheck_after, trusted_for }) = self.staleness_limits() else {
            return Stamp {
                generation,
                recheck_at: i64::MAX,
                recheck_after: i64::MAX,
                trusted_until: i64::MAX,
            };
        };
        // Fleet: up to a quarter more at random, so that not all processes read the storage at once.
        let jittered = |delay: Duration| {
            let quarter = Duration::from_millis(u64::try_from((delay / 4).as_millis()).unwrap_or(u64::MAX));
            let delay = delay.saturating_add(quarter.mul_f64(rt::random()));
            i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
        };
        let after = |delay: i64| now.monotonic_millis().saturating_add(delay);
        let recheck_after = jittered(recheck_after);
        Stamp {
            generation,
            recheck_at: after(recheck_after),
            recheck_after,
            trusted_until: after(jittered(trusted_for)),
        }
    }

    /// An entry for a token from the storage. If it is the cached token, the manager keeps the facts about that
    /// one: when it was first seen, and whether an API has accepted it.
    pub(crate) fn entry_of(
        &self,
        token: TokenData,
        stamp: Stamp,
        windows: Windows,
        now: ClockReading,
    ) -> Result<Entry, AuthenticationError> {
        match self.entry() {
            Some(known) if are_same_token(known.credential().token(), &token) => Ok(known.as_stored(stamp)),
            _ => Entry::new(token, stamp, windows, now),
        }
    }

    /// The same entry with the present generation. The time of its last comparison with the storage stays.
    pub(crate) fn renewed(&self, entry: &Arc<Entry>) -> Arc<Entry> {
        let generation = self.generation();
        if entry.generation() == generation {
            return Arc::clone(entry);
        }
        Arc::new(entry.stamped(Stamp { generation, ..entry.stamp() }).with_uncertainty())
    }

    fn generation(&self) -> GenerationStamp {
        match &self.change_detection {
            ChangeDetection::Counted(generation) => generation.current(),
            ChangeDetection::NotNeeded | ChangeDetection::None => GenerationStamp::default(),
        }
    }

    fn staleness_limits(&self) -> Option<StalenessLimits> {
        match &self.change_detection {
            ChangeDetection::Counted(generation) => generation.staleness_limits(),
            ChangeDetection::NotNeeded | ChangeDetection::None => None,
        }
    }

    /// For [`remember`](Self::remember). Order: take it before the storage is read.
    pub(crate) fn change_count(&self) -> ChangeCount {
        ChangeCount { changes: self.ledger.lock().changes }
    }

    /// Stores the entry of a flight. The caller must ensure that no invalidation came since the flight began.
    pub(crate) fn fill(&self, entry: &Arc<Entry>) {
        let mut ledger = self.ledger.lock();
        ledger.changes += 1;
        self.put(&mut ledger, entry);
    }

    /// Stores an entry that was read from the storage, so that later reads know its token; the newest read
    /// wins. Two races make the slot drop the entry. An invalidation came during the read: if the storage
    /// then failed, the slot would bring the invalidated token back. Or a flight filled the slot during the read: the
    /// entry would displace the new token, of which there may be no other copy.
    pub(crate) fn remember(&self, entry: &Arc<Entry>, changes_before: ChangeCount) {
        let mut ledger = self.ledger.lock();
        if ledger.changes == changes_before.changes && !self.entry().is_some_and(|known| known.is_same(entry))
        {
            self.put(&mut ledger, entry);
        }
    }

    fn put(&self, ledger: &mut Ledger, entry: &Arc<Entry>) {
        let id = entry.id();
        let before = self.entry();
        let is_another = !before.as_ref().is_some_and(|before| before.is_same(entry));
        let is_rejected = if is_another && entry.take_newness() {
            ledger.rejections.forget(id);
            false
        } else {
            // Race: an API may have rejected the token after `entry` was made and before this lock was taken.
            is_rejected(before.as_deref(), ledger, id)
        };
        if is_rejected {
            entry.reject();
        }
        if is_another {
            ledger.rejections.track_credential(entry.credential());
        }
        self.entry.store(Some(Arc::clone(entry)));
    }

    pub(crate) fn clear(&self) {
        let mut ledger = self.ledger.lock();
        ledger.changes += 1;
        ledger.cleared = self.stored_with(&ledger);
        self.entry.store(None);
    }

    /// The token that the storage has, as far as the manager knows, for when the storage does not answer.
    pub(crate) fn stored(&self) -> Option<TokenId> {
        self.stored_with(&self.ledger.lock())
    }

    fn stored_with(&self, ledger: &Ledger) -> Option<TokenId> {
        match self.entry() {
            Some(entry) => entry.stored(),
            None => ledger.cleared,
        }
    }

    /// Whether the token must not be handed out because an API has rejected it.
    pub(crate) fn is_rejected(&self, id: TokenId) -> bool {
        let ledger = self.ledger.lock();
        is_rejected(self.entry().as_deref(), &ledger, id)
    }

    /// Whether an API has rejected the token, and the slot has another one since.
    pub(crate) fn was_replaced(&self, id: TokenId) -> bool {
        let ledger = self.ledger.lock();
        self.entry().is_some_and(|entry| entry.id() != id) && ledger.rejections.has_seen(id)
    }

    /// Remembers that an API has rejected this token, so that the manager does not adopt it from the storage.
    /// Does not change the entry if the slot holds this token.
    pub(crate) fn remember_rejection(&self, id: TokenId) {
        self.ledger.lock().rejections.remember(id);
    }

    /// Stops handing out this token, if the slot holds it and renewals do not back off. The renewal counts when
    /// it begins.
    pub(crate) fn withhold(&self, id: TokenId, now: ClockReading) {
        // Race: the entry changes only under this lock, so the slot still holds the checked token at the
        // rejection.
        let mut ledger = self.ledger.lock();
        let Some(entry) = self.entry().filter(|entry| entry.id() == id && !entry.is_rejected()) else {
            return;
        };
        if ledger.rejections.renewal_in(entry.credential().was_accepted(), now).is_zero() {
            ledger.rejections.owe_renewal(id);
            entry.reject();
        }
    }

    /// How long until the token in the slot may be renewed if it is rejected. A token that is withheld already may be
    /// renewed now.
    pub(crate) fn renewal_in(&self, now: ClockReading) -> Duration {
        let ledger = self.ledger.lock();
        self.entry().filter(|entry| !entry.is_rejected()).map_or(Duration::ZERO, |entry| {
            ledger.rejections.renewal_in(entry.credential().was_accepted(), now)
        })
    }

    /// Counts a renewal, which begins now, if the token in the slot is [withheld](Self::withhold).
    ///
    /// Attack: an API that rejects everything would otherwise cost a token call per request. Each request would
    /// withhold its token, and the flight of the next caller would renew it without asking for permission.
    pub(crate) fn count_renewal(&self, now: ClockReading) {
        let mut ledger = self.ledger.lock();
        if let Some(entry) = self.entry() {
            ledger.rejections.count_if_owed(entry.id(), entry.credential().was_accepted(), now);
        }
    }

    /// Stops handing out this token, if the slot holds it and renewals do not back off. Says whether the
    /// token may be renewed; a token that the slot does not hold may.
    pub(crate) fn reject(&self, id: TokenId, now: ClockReading) -> bool {
        self.reject_if(id, |rejections, rejected| {
            let was_accepted = rejected.credential().was_accepted();
            // An earlier renewal of this token was permitted and failed. No caller can use the token, and the next
            // caller of `get_token` has it renewed, so a back-off would delay only callers of `refresh_rejected`.
            if rejected.is_rejected() {
                rejections.count_if_owed(id, was_accepted, now);
                return true;
            }
            rejections.try_begin_renewal(was_accepted, now)
        })
    }

    /// Stops handing out this token, even while renewals back off.
    pub(crate) fn discard(&self, id: TokenId) {
        self.reject_if(id, |_, _| true);
    }

    fn reject_if(&self, id: TokenId, permit: impl FnOnce(&mut Rejections, &Entry) -> bool) -> bool {
        let mut ledger = self.ledger.lock();
        ledger.rejections.remember(id);
        let Some(entry) = self.entry().filter(|entry| entry.id() == id) else { return true };
        let is_permitted = permit(&mut ledger.rejections, &entry);
        if is_permitted {
            entry.reject();
        }
        is_permitted
    }
}

/// If the slot holds the token, its entry decides, not the list: while renewals back off, or after the issuer
/// has issued the same token again, the manager hands out a token that an API has rejected.
fn is_rejected(cached: Option<&Entry>, ledger: &Ledger, id: TokenId) -> bool {
    match cached.filter(|entry| entry.id() == id) {
        Some(entry) => entry.is_rejected(),
        None => ledger.rejections.has_seen(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(access_token: &str) -> Arc<Entry> {
        let now = ClockReading::from_millis(0, 0);
        let windows = Windows { advisory: Duration::ZERO, mandatory: Duration::ZERO };
        let stamp = Slot::new(ChangeDetection::NotNeeded).stamp(now);
        Arc::new(Entry::new(TokenData::new(access_token), stamp, windows, now).unwrap())
    }

    fn has(slot: &Slot, entry: &Arc<Entry>) -> bool {
        slot.entry().is_some_and(|cached| Arc::ptr_eq(&cached, entry))
    }

    #[test]
    fn inv18_the_newest_reading_is_kept() {
        rt::run_test(|| {
            let slot = Slot::new(ChangeDetection::None);
            let (one, two) = (entry("one"), entry("two"));
            let changes_before = slot.change_count();
            slot.remember(&one, changes_before);
            slot.remember(&two, changes_before);
            assert!(has(&slot, &two));
        });
    }

    #[test]
    fn inv11_what_was_read_before_an_invalidation_is_not_kept_after_it() {
        rt::run_test(|| {
            let slot = Slot::new(ChangeDetection::None);
            slot.fill(&entry("before"));
            let changes_before = slot.change_count();
            slot.clear();
            slot.remember(&entry("before"), changes_before);
            assert!(slot.entry().is_none());
        });
    }

    #[test]
    fn inv18_what_was_read_before_a_renewal_does_not_displace_what_that_brought() {
        rt::run_test(|| {
            let slot = Slot::new(ChangeDetection::None);
            let changes_before = slot.change_count();
            let renewed = entry("renewed");
            slot.fill(&renewed);
            slot.remember(&entry("before"), changes_before);
            assert!(has(&slot, &renewed));
        });
    }

    #[test]
    fn inv11_what_is_rejected_before_it_comes_into_the_slot_is_no_hit_there() {
        rt::run_test(|| {
            let slot = Slot::new(ChangeDetection::NotNeeded);
            let now = ClockReading::from_millis(0, 0);
            for discard in [true, false] {
                let late = entry("late");
                let reject = if discard { Slot::discard } else { Slot::remember_rejection };
                reject(&slot, late.id());
                slot.fill(&late);
                assert!(slot.hit(now, |_| ()).is_none());
            }
            // A second entry with the same token, as from another manager.
            slot.fill(&entry("late"));
            assert!(slot.hit(now, |_| ()).is_none());
        });
    }
}
