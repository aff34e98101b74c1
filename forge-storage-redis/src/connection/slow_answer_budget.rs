use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Decides how long a command may take, so that a server that answers slowly delays callers no more in total than a server
/// that does not answer. All slow answers share one budget, the time-out of one command. When the budget is used up, the
/// breaker opens. After that a command gets only the time of an answer that is not slow, until quick answers have refilled
/// the budget.
pub(super) struct SlowAnswerBudget {
    command: Duration,
    slow: Duration,
    account: Mutex<Account>,
}

#[derive(Default)]
struct Account {
    /// The time that callers have waited for slow answers, less the time that quick answers have given back.
    spent: Duration,
    /// The time up to which waits were counted. Callers that wait at the same time use the budget only once.
    counted_until: Option<Instant>,
    /// The number of openings of the breaker since the budget was full.
    openings: u32,
}

/// The pause before a probe, from the second opening of the breaker on. It doubles with each opening, up to `MAX_PAUSE`.
/// Without it a server that answers probes quickly and commands slowly would delay callers again after each probe. With 5 s
/// at most, such a server costs callers a quarter of a command time-out in five seconds.
const INITIAL_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);

impl SlowAnswerBudget {
    pub(super) fn new(command: Duration, slow: Duration) -> Self {
        Self { command, slow, account: Mutex::default() }
    }

    /// The deadline of a command that a caller requested at `begun` and that is sent at `sent`. After a wait
    /// for the connection the command still gets the time of an answer that is not slow, but never more than
    /// the time-out from `begun` on.
    pub(super) fn deadline(&self, begun: Instant, sent: Instant) -> Instant {
        let left = self.command.saturating_sub(self.account().spent);
        (begun + left).max(sent + self.slow).min(begun + self.command)
    }

    /// Records the answer to a command that was sent at `sent`. Its caller has waited since `since`, including for the
    /// connection. Returns whether the budget is used up: less is left than the time of an answer that is not slow.
    pub(super) fn answered(&self, since: Instant, sent: Instant, now: Instant) -> bool {
        let took = now.duration_since(sent);
        if took <= self.slow {
            self.answered_quickly(took);
            return false;
        }
        let mut account = self.account();
        let since = account.counted_until.map_or(since, |until| until.max(since));
        account.spent = account.spent.saturating_add(now.saturating_duration_since(since));
        account.counted_until = account.counted_until.max(Some(now));
        account.spent > self.tripping_point()
    }

    /// Whether a command without an answer shows that its server is slow. The caller has waited since `since`,
    /// sent the command at `sent` and gives it up at `now`; `round_trip` is how long the server took to answer
    /// right after connecting.
    ///
    /// A command that had less time than an answer that is not slow shows nothing. If the caller has spent its time on
    /// connecting, the round trip tells a slow server from slow steps before it (a handshake, a login, the sentinels). If the
    /// caller has spent its time on other connections, the round trip may be an old one.
    pub(super) fn is_too_slow(
        &self,
        since: Instant,
        sent: Instant,
        now: Instant,
        round_trip: Duration,
    ) -> bool {
        let has_connected_slowly = now.duration_since(since) >= self.slow && round_trip > self.slow;
        now.duration_since(sent) >= self.slow || has_connected_slowly
    }

    /// Records a quick answer, which took this long.
    pub(super) fn answered_quickly(&self, took: Duration) {
        let mut account = self.account();
        account.spent = account.spent.saturating_sub(self.slow.saturating_sub(took));
        if account.spent.is_zero() {
            account.openings = 0;
        }
    }

    /// Records that the breaker has opened because the server is slow.
    pub(super) fn opened(&self) {
        let mut account = self.account();
        account.spent = self.tripping_point();
        account.openings = account.openings.saturating_add(1);
    }

    /// The pause before the next probe.
    pub(super) fn pause(&self) -> Duration {
        match self.account().openings {
            0 | 1 => Duration::ZERO,
            openings => {
                let doubled = 2_u32.checked_pow(openings - 2);
                doubled.map_or(MAX_PAUSE, |doubled| INITIAL_PAUSE.saturating_mul(doubled)).min(MAX_PAUSE)
            }
        }
    }

    /// The breaker opens when callers have spent more than this.
    fn tripping_point(&self) -> Duration {
        self.command.saturating_sub(self.slow)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A caller of a connection with a budget. Its clock advances when it waits.
    struct Caller {
        budget: SlowAnswerBudget,
        now: Instant,
        is_open: bool,
        waited: Duration,
    }

    impl Caller {
        fn new() -> Self {
            let budget = SlowAnswerBudget::new(millis(100), millis(25));
            Self { budget, now: Instant::now(), is_open: false, waited: Duration::ZERO }
        }

        /// Calls a server that takes this long for an answer, over a connection that takes this long to come up.
        fn call_connecting(&mut self, connecting: u64, answer: u64) {
            if self.is_open {
                return;
            }
            let begun = self.now;
            let sent = begun + millis(connecting);
            let (answered, deadline) = (sent + millis(answer), self.budget.deadline(begun, sent));
            self.now = answered.min(deadline);
            self.waited += self.now - begun;
            // The server takes the same time for all answers, including those during connecting.
            self.is_open = if answered > deadline {
                self.budget.is_too_slow(begun, sent, self.now, millis(answer))
            } else {
                self.budget.answered(begun, sent, self.now)
            };
            if self.is_open {
                self.budget.opened();
            }
        }

        fn call(&mut self, answer: u64) {
            self.call_connecting(0, answer);
        }

        /// The server has answered a probe quickly.
        fn close(&mut self) {
            self.now += self.budget.pause();
            self.is_open = false;
        }
    }

    #[test]
    fn inv18_slow_answers_cost_as_much_as_none_however_far_they_are_apart() {
        for (connecting, answer) in
            (0..=100).step_by(5).flat_map(|to| (26..200).map(move |takes| (to, takes)))
        {
            for apart in [0, 300, 5_000, 3_600_000] {
                let mut caller = Caller::new();
                caller.call_connecting(connecting, answer);
                for _ in 0..20 {
                    caller.now += millis(apart);
                    caller.call(answer);
                }
                assert!(caller.is_open, "{answer} ms each, for ever");
                assert!(caller.waited <= millis(100), "{answer} ms after {connecting}: {:?}", caller.waited);
            }
        }
    }

    #[test]
    fn inv18_a_server_that_answers_probes_quickly_and_commands_slowly_costs_little_and_less_and_less() {
        let mut caller = Caller::new();
        caller.call(200);
        assert_eq!(caller.waited, millis(100));
        for opening in 1..=20 {
            caller.waited = Duration::ZERO;
            let before = caller.now;
            caller.close();
            assert!(caller.now - before <= MAX_PAUSE);
            assert!(opening < 10 || caller.now - before == MAX_PAUSE);
            caller.call(60);
            assert!(caller.is_open);
            assert_eq!(caller.waited, millis(25), "no more than an answer that is not slow");
        }
        // After quick answers to commands the caller may wait as long as before.
        caller.close();
        for _ in 0..10 {
            caller.call(5);
        }
        caller.waited = Duration::ZERO;
        caller.call(60);
        assert!(!caller.is_open && caller.budget.pause().is_zero());
        assert_eq!(caller.waited, millis(60));
    }

    #[test]
    fn inv18_slow_answers_in_between_are_not_forgiven_by_a_single_quick_one() {
        let mut caller = Caller::new();
        for _ in 0..20 {
            caller.call(60);
            caller.call(5);
        }
        assert!(caller.is_open);
        assert!(caller.waited <= millis(2 * 100), "{:?}", caller.waited);

        let mut caller = Caller::new();
        for _ in 0..20 {
            caller.call(60);
            for _ in 0..5 {
                caller.call(5);
            }
        }
        assert!(!caller.is_open, "most are quick");
    }

    #[test]
    fn inv18_a_slow_connection_to_a_quick_server_is_none_of_its_faults() {
        for (connecting, answer) in (0..=100).flat_map(|to| (0..=25).map(move |takes| (to, takes))) {
            let mut caller = Caller::new();
            caller.call_connecting(connecting, answer);
            assert!(!caller.is_open, "{answer} ms after {connecting}");
            caller.call(60);
            assert!(!caller.is_open, "{answer} ms after {connecting}, and 60");
        }
    }

    #[test]
    fn inv18_those_who_wait_at_the_same_time_wait_once() {
        let budget = SlowAnswerBudget::new(millis(100), millis(25));
        let begun = Instant::now();
        for _ in 0..64 {
            assert!(!budget.answered(begun, begun, begun + millis(60)));
        }
        assert_eq!(budget.deadline(begun, begun), begun + millis(40));
        assert!(budget.answered(begun + millis(50), begun + millis(50), begun + millis(80)));
    }

    #[test]
    fn who_comes_from_elsewhere_has_time_for_an_answer_that_is_not_slow_within_the_whole() {
        let budget = SlowAnswerBudget::new(millis(100), millis(25));
        budget.opened();
        let begun = Instant::now();
        for (sent, until) in [(0, 25), (10, 35), (60, 85), (90, 100)] {
            assert_eq!(budget.deadline(begun, begun + millis(sent)), begun + millis(until));
        }
    }
}
