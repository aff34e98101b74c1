use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use forge_core::{Clock, ClockReading};

/// The offset of the server's clock from this machine's wall clock. All processes that share a token judge its expiry
/// by the server's clock.
#[derive(Debug)]
pub(crate) struct ServerClock {
    local: Arc<dyn Clock>,
    /// The server's time minus ours, in milliseconds.
    ahead: AtomicI64,
}

/// Smaller differences count as none, because the network may cause them. So in a usual network a token reads back exactly
/// as it was written. A second does not matter beside the 30 s margin before an expiry.
const TOLERANCE: i64 = 1_000;

impl ServerClock {
    /// The clock of a server, from an answer that has just arrived. `asked` is the time of the request by our wall clock, and
    /// `server_millis` the server's time in the answer, both in milliseconds.
    pub(crate) fn new(local: Arc<dyn Clock>, asked: i64, server_millis: i64) -> Self {
        let clock = Self { local, ahead: AtomicI64::new(0) };
        clock.ahead.store(clock.measured(asked, server_millis).0, Ordering::Relaxed);
        clock
    }

    pub(crate) fn local_now(&self) -> ClockReading {
        self.local.now()
    }

    /// Updates the offset from a later answer; see [`new`](Self::new).
    pub(crate) fn learn(&self, asked: i64, server_millis: i64) {
        let (ahead, round_trip) = self.measured(asked, server_millis);
        // A slow answer gives a less exact offset. A negative time means that our clock was set meanwhile.
        if !(0..=TOLERANCE).contains(&round_trip) {
            return;
        }
        let known = self.ahead();
        if (ahead == 0) != (known == 0) || !is_small(ahead.saturating_sub(known)) {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// How far the server's clock is ahead, and how long the answer took.
    fn measured(&self, asked: i64, server_millis: i64) -> (i64, i64) {
        let round_trip = self.local.now().wall_millis().saturating_sub(asked);
        // The server has read its clock at some moment in between. Assume the middle.
        let ahead = server_millis.saturating_sub(asked.saturating_add(round_trip / 2));
        (if is_small(ahead) { 0 } else { ahead }, round_trip)
    }

    /// Translates a moment of our clock to the server's clock.
    pub(crate) fn to_server(&self, local: DateTime<Utc>) -> DateTime<Utc> {
        shifted(local, self.ahead())
    }

    /// Translates a moment of the server's clock to our clock.
    pub(crate) fn to_local(&self, server: DateTime<Utc>) -> DateTime<Utc> {
        shifted(server, self.ahead().saturating_neg())
    }

    fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }
}

/// The answer to `TIME`, in milliseconds.
pub(crate) fn millis(seconds: i64, micros: i64) -> i64 {
    seconds.saturating_mul(1_000).saturating_add(micros / 1_000)
}

fn is_small(difference: i64) -> bool {
    difference.unsigned_abs() < TOLERANCE.unsigned_abs()
}

fn shifted(moment: DateTime<Utc>, millis: i64) -> DateTime<Utc> {
    let by = TimeDelta::try_milliseconds(millis).unwrap_or_default();
    moment.checked_add_signed(by).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use forge_core::ManualClock;

    use super::*;

    #[test]
    fn inv10_small_differences_are_none_and_large_ones_go_both_ways() {
        let local = Arc::new(ManualClock::new());
        let (now, millis) = (local.now().wall(), local.now().wall_millis());
        let clock = ServerClock::new(Arc::clone(&local) as _, millis, millis + 999);
        let learn = |server| clock.learn(local.now().wall_millis(), server);
        assert_eq!(clock.to_local(now), now);

        learn(millis + 600_000);
        assert_eq!(clock.to_server(now), now + TimeDelta::minutes(10));
        learn(millis + 600_999);
        assert_eq!(clock.to_local(clock.to_server(now)), now);
        assert_eq!(clock.to_server(now), now + TimeDelta::minutes(10), "no jitter");
        local.step_wall(-600_000);
        learn(millis);
        assert_eq!(clock.to_server(now), now + TimeDelta::minutes(10));
        local.step_wall(1_200_000);
        learn(millis);
        assert_eq!(clock.to_server(now), now - TimeDelta::minutes(10));
        local.step_wall(-600_300);
        learn(millis);
        assert_eq!(clock.to_server(now), now);
    }

    #[test]
    fn inv10_an_answer_that_took_long_says_nothing_of_the_clock() {
        let local = Arc::new(ManualClock::new());
        let (now, millis) = (local.now().wall(), local.now().wall_millis());
        let clock = ServerClock::new(Arc::clone(&local) as _, millis - 4_000, millis - 2_000);
        assert_eq!(clock.to_server(now), now, "the middle of the way is the best guess");
        clock.learn(millis - 4_000, millis - 4_000);
        assert_eq!(clock.to_server(now), now);
        clock.learn(millis + 4_000, millis - 4_000);
        assert_eq!(clock.to_server(now), now);
    }

    #[test]
    fn inv10_absurd_times_do_not_overflow() {
        assert_eq!(millis(1, 2_500), 1_002);
        assert_eq!((millis(i64::MAX, i64::MAX), millis(i64::MIN, i64::MIN)), (i64::MAX, i64::MIN));
        for (asked, server) in [(0, i64::MAX), (0, i64::MIN), (i64::MAX, i64::MIN), (i64::MIN, i64::MAX)] {
            let clock = ServerClock::new(Arc::new(ManualClock::new()), asked, server);
            clock.learn(asked, server);
            let _ = (clock.to_local(DateTime::<Utc>::MIN_UTC), clock.to_server(DateTime::<Utc>::MAX_UTC));
            let _ = (clock.to_local(DateTime::<Utc>::MAX_UTC), clock.to_server(DateTime::<Utc>::MIN_UTC));
        }
    }
}
