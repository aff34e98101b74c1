use std::time::Duration;

use super::window::{FailureRate, Window};
use super::{CircuitState, Verdict};

/// The limits at which circuits open and close.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) failure_threshold: u32,
    pub(super) failure_rate: Option<FailureRate>,
    pub(super) open_for: Duration,
    pub(super) half_open_probes: u32,
}

/// The circuit of one origin: a state machine without locks and clocks. The caller passes the time in
/// milliseconds, of a clock that does not go back.
#[derive(Debug)]
pub(super) struct Circuit {
    phase: Phase,
    /// Grows with each transition. Race: the outcome of a request may arrive after a transition. Its ticket has
    /// the round in which the request was admitted, so the outcome does not count for a later phase.
    round: u64,
    probes_so_far: u64,
}

#[derive(Debug)]
enum Phase {
    Closed { failures_in_a_row: u32, window: Option<Window> },
    Open { until: i64 },
    HalfOpen { successes: u32, under_way: Vec<Probe> },
}

#[derive(Debug)]
struct Probe {
    number: u64,
    /// From this time on the circuit waits no longer for the outcome.
    lost_at: i64,
}

/// The admission of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    round: u64,
    probe: Option<u64>,
}

/// A ticket, or for how long the circuit surely admits nothing; `None` in the half-open state, where the next outcome
/// may free a place.
pub(super) type Admission = Result<Ticket, Option<Duration>>;

impl Circuit {
    pub(super) fn new(failure_rate: Option<FailureRate>) -> Self {
        Self { phase: Phase::closed(failure_rate), round: 0, probes_so_far: 0 }
    }

    pub(super) fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Half-opens the circuit if its open time is over.
    pub(super) fn tick(&mut self, now: i64) {
        if let Phase::Open { until } = self.phase
            && until <= now
        {
            self.enter(Phase::HalfOpen { successes: 0, under_way: Vec::new() });
        }
    }

    pub(super) fn admit(&mut self, now: i64, timeout: Duration, rules: &Rules) -> Admission {
        self.tick(now);
        let round = self.round;
        match &mut self.phase {
            Phase::Closed { .. } => Ok(Ticket { round, probe: None }),
            Phase::Open { until } => Err(Some(time_until(now, *until))),
            Phase::HalfOpen { successes, under_way } => {
                under_way.retain(|probe| probe.lost_at > now);
                // A probe that succeeded keeps its place, so the circuit sends no more probes than it needs to close.
                if !has_free_place(*successes, under_way.len(), rules) {
                    return Err(None);
                }
                self.probes_so_far += 1;
                under_way.push(Probe { number: self.probes_so_far, lost_at: lost_at(now, timeout) });
                Ok(Ticket { round, probe: Some(self.probes_so_far) })
            }
        }
    }

    /// The ticket of a closed circuit, for which [`admit`](Self::admit) needs no time and changes nothing.
    pub(super) fn ticket_if_closed(&self) -> Option<Ticket> {
        let is_closed = matches!(self.phase, Phase::Closed { .. });
        is_closed.then_some(Ticket { round: self.round, probe: None })
    }

    /// Whether [`confirm`](Self::confirm) would give the same ticket back, whatever the time.
    pub(super) fn is_closed_since(&self, ticket: Ticket) -> bool {
        ticket.round == self.round && matches!(self.phase, Phase::Closed { .. })
    }

    /// Whether [`record`](Self::record) would change nothing, whatever the time.
    pub(super) fn is_unmoved_by(&self, ticket: Ticket, verdict: Verdict) -> bool {
        verdict == Verdict::Success
            && ticket.round == self.round
            && matches!(self.phase, Phase::Closed { failures_in_a_row: 0, window: None })
    }

    /// Confirms a ticket just before its request is sent, so that the time of the probe begins now. Race: while
    /// the request waited for its token, the phase may have ended or its place may have been lost. Then the
    /// request needs a new ticket, like any other.
    pub(super) fn confirm(
        &mut self,
        ticket: Ticket,
        now: i64,
        timeout: Duration,
        rules: &Rules,
    ) -> Admission {
        if ticket.round == self.round {
            match &mut self.phase {
                Phase::Closed { .. } => return Ok(ticket),
                Phase::HalfOpen { under_way, .. } => {
                    if let Some(probe) = under_way.iter_mut().find(|probe| Some(probe.number) == ticket.probe)
                    {
                        probe.lost_at = lost_at(now, timeout);
                        return Ok(ticket);
                    }
                }
                Phase::Open { .. } => {}
            }
        }
        self.admit(now, timeout, rules)
    }

    /// Whether [`admit`](Self::admit) would refuse.
    pub(super) fn refuses(&self, now: i64, rules: &Rules) -> bool {
        match &self.phase {
            Phase::Closed { .. } => false,
            Phase::Open { until } => now < *until,
            Phase::HalfOpen { successes, under_way } => {
                let under_way = under_way.iter().filter(|probe| probe.lost_at > now).count();
                !has_free_place(*successes, under_way, rules)
            }
        }
    }

    /// Records the outcome of a request.
    pub(super) fn record(&mut self, ticket: Ticket, verdict: Verdict, now: i64, rules: &Rules) {
        if ticket.round != self.round {
            return;
        }
        match (&mut self.phase, verdict) {
            (Phase::Closed { failures_in_a_row, window }, verdict) => {
                let failed = verdict == Verdict::Failure;
                *failures_in_a_row = if failed { failures_in_a_row.saturating_add(1) } else { 0 };
                let is_failing = window.as_mut().is_some_and(|window| window.record(failed, now));
                if *failures_in_a_row >= rules.failure_threshold || is_failing {
                    self.open(now, rules);
                }
            }
            // A failed probe counts also if it had lost its place: the server does not work yet.
            (Phase::HalfOpen { .. }, Verdict::Failure) => self.open(now, rules),
            (Phase::HalfOpen { successes, under_way }, Verdict::Success) => {
                if remove_probe(under_way, ticket) {
                    *successes += 1;
                    if *successes >= rules.half_open_probes {
                        self.reset(rules);
                    }
                }
            }
            // This phase admits nothing, so no ticket has its round.
            (Phase::Open { .. }, _) => {}
        }
    }

    /// Gives the place of a request back that will have no outcome.
    pub(super) fn give_back(&mut self, ticket: Ticket) {
        if let Phase::HalfOpen { under_way, .. } = &mut self.phase {
            remove_probe(under_way, ticket);
        }
    }

    /// Begins a new closed phase. Race: requests that an earlier phase admitted may still report; `enter` begins
    /// a new round, so that their verdicts do not count.
    pub(super) fn reset(&mut self, rules: &Rules) {
        self.enter(Phase::closed(rules.failure_rate));
    }

    fn open(&mut self, now: i64, rules: &Rules) {
        self.enter(Phase::Open { until: now.saturating_add(to_millis(rules.open_for)) });
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.round += 1;
    }
}

impl Phase {
    fn closed(failure_rate: Option<FailureRate>) -> Self {
        Self::Closed { failures_in_a_row: 0, window: failure_rate.map(Window::new) }
    }
}

/// When a probe that is sent now counts as lost. Its own time-out ends it before, unless its
/// caller polls its future no more. Twice the time-out leaves room for a busy machine.
fn lost_at(now: i64, timeout: Duration) -> i64 {
    now.saturating_add(to_millis(timeout.saturating_mul(2).min(MAX_PROBE_TIME)))
}

/// The maximum time after which a probe counts as lost. A client may have a time-out of hours; the circuit does not
/// stay half-open for so long.
const MAX_PROBE_TIME: Duration = Duration::from_secs(600);

fn has_free_place(successes: u32, under_way: usize, rules: &Rules) -> bool {
    let taken = usize::try_from(successes).unwrap_or(usize::MAX).saturating_add(under_way);
    usize::try_from(rules.half_open_probes).is_ok_and(|probes| taken < probes)
}

fn remove_probe(under_way: &mut Vec<Probe>, ticket: Ticket) -> bool {
    let place = under_way.iter().position(|probe| Some(probe.number) == ticket.probe);
    place.map(|place| under_way.swap_remove(place)).is_some()
}

pub(super) fn to_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn time_until(now: i64, then: i64) -> Duration {
    Duration::from_millis(u64::try_from(then.saturating_sub(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
