use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use forge_core::{ClockReading, MarkTakeover, RefreshMark, TokenId};

/// How long a mark is kept: as long as a refresh token of unknown lifetime.
pub(crate) const MAX_MARK_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The mark that a lease has made on the refresh token of a key. The next token that is stored removes it.
#[derive(Default)]
pub(crate) struct KeyMark(Mutex<Option<Mark>>);

struct Mark {
    id: TokenId,
    /// The number of the lease that made the mark.
    lease: u64,
    was_taken_over: bool,
    /// When the mark was made, in monotonic milliseconds.
    made_at: i64,
}

impl KeyMark {
    /// Marks the refresh token for this lease. Race: two leases could find no mark, and both would send the refresh token.
    /// So reading and setting the mark is one step under the lock.
    pub(crate) fn make(
        &self,
        id: TokenId,
        lease: u64,
        takeover: MarkTakeover,
        now: ClockReading,
    ) -> RefreshMark {
        let now = now.monotonic_millis();
        let mut mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut was_taken_over = false;
        if let Some(foreign) = mark.as_ref().filter(|mark| mark.id == id) {
            if foreign.lease == lease {
                return RefreshMark::Ours;
            }
            let may_take = match takeover {
                MarkTakeover::Never => false,
                MarkTakeover::Once => !foreign.was_taken_over,
                MarkTakeover::Always => true,
            };
            if !may_take {
                let age = now.saturating_sub(foreign.made_at).max(0);
                return RefreshMark::Foreign { age: Some(Duration::from_millis(age.unsigned_abs())) };
            }
            was_taken_over = true;
        }
        *mark = Some(Mark { id, lease, was_taken_over, made_at: now });
        RefreshMark::Ours
    }

    /// Removes the mark, if this lease has made it.
    pub(crate) fn clear(&self, id: TokenId, lease: u64) {
        let mut mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mark.take_if(|mark| mark.id == id && mark.lease == lease);
    }
}
