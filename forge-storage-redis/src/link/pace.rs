use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a command may take. A server that answers slowly, but in time, costs no more in a row than
/// one that does not answer.
pub(super) struct Pace {
    command: Duration,
    slow: Duration,
    /// What slow answers in a row have cost so far, and when the last one came.
    debt: Mutex<Option<(Duration, Instant)>>,
}

/// Slow answers that are further apart are not in a row.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);

impl Pace {
    pub(super) fn new(command: Duration, slow: Duration) -> Self {
        Self { command, slow, debt: Mutex::new(None) }
    }

    /// For the next command.
    pub(super) fn limit(&self) -> Duration {
        let debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        let owed =
            debt.filter(|(_, at)| at.elapsed() < FORGOTTEN_AFTER).map_or(Duration::ZERO, |(owed, _)| owed);
        self.command.saturating_sub(owed).max(self.slow / 2)
    }

    /// A command was answered after this time.
    pub(super) fn answered(&self, after: Duration) {
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        if after <= self.slow {
            *debt = None;
            return;
        }
        let owed =
            debt.filter(|(_, at)| at.elapsed() < FORGOTTEN_AFTER).map_or(Duration::ZERO, |(owed, _)| owed);
        *debt = Some((owed.saturating_add(after), Instant::now()));
    }

    /// Nothing is owed to another connection.
    pub(super) fn begin_anew(&self) {
        *self.debt.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv18_slow_answers_in_a_row_cost_as_much_as_none() {
        let millis = Duration::from_millis;
        let pace = Pace::new(millis(100), millis(25));
        for _ in 0..10 {
            pace.answered(millis(20));
            assert_eq!(pace.limit(), millis(100));
        }
        pace.answered(millis(60));
        assert_eq!(pace.limit(), millis(40));
        pace.answered(millis(30));
        assert_eq!(pace.limit(), millis(25) / 2, "and not nothing");
        pace.answered(millis(5));
        assert_eq!(pace.limit(), millis(100));
        pace.answered(millis(60));
        pace.begin_anew();
        assert_eq!(pace.limit(), millis(100));
    }
}
