use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn rules() -> Rules {
    Rules { failure_threshold: 3, failure_rate: None, open_for: Duration::from_secs(30), half_open_probes: 2 }
}

/// A circuit with its own time.
struct TimedCircuit {
    circuit: Circuit,
    rules: Rules,
    now: i64,
}

impl TimedCircuit {
    fn closed(rules: Rules) -> Self {
        Self { circuit: Circuit::new(rules.failure_rate), rules, now: 1_000 }
    }

    fn open() -> Self {
        let mut circuit = Self::closed(rules());
        circuit.calls("fff");
        assert_eq!(circuit.state(), CircuitState::Open);
        circuit
    }

    fn half_open() -> Self {
        let mut circuit = Self::open();
        circuit.pass(30);
        circuit.circuit.tick(circuit.now);
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        circuit
    }

    fn pass(&mut self, seconds: i64) {
        self.now += seconds * 1_000;
    }

    fn admit(&mut self) -> Admission {
        let refuses = self.circuit.refuses(self.now, &self.rules);
        let admission = self.circuit.admit(self.now, TIMEOUT, &self.rules);
        assert_eq!(refuses, admission.is_err());
        admission
    }

    fn confirm(&mut self, ticket: Ticket) -> Admission {
        self.circuit.confirm(ticket, self.now, TIMEOUT, &self.rules)
    }

    fn record(&mut self, ticket: Ticket, verdict: Verdict) {
        self.circuit.record(ticket, verdict, self.now, &self.rules);
    }

    /// Makes calls one after the other: `s` for a success, `f` for a failure, `-` for neither.
    fn calls(&mut self, outcomes: &str) {
        for outcome in outcomes.chars() {
            let ticket = self.admit().unwrap();
            match outcome {
                's' => self.record(ticket, Verdict::Success),
                'f' => self.record(ticket, Verdict::Failure),
                _ => self.circuit.give_back(ticket),
            }
        }
    }

    fn state(&self) -> CircuitState {
        self.circuit.state()
    }
}

#[test]
fn inv22_enough_failures_in_a_row_open_a_circuit() {
    for (outcomes, state) in [
        ("ff", CircuitState::Closed),
        ("ffsff", CircuitState::Closed),
        ("ff-", CircuitState::Closed),
        ("ff-f", CircuitState::Open),
        ("sssfff", CircuitState::Open),
    ] {
        let mut circuit = TimedCircuit::closed(rules());
        circuit.calls(outcomes);
        assert_eq!(circuit.state(), state, "{outcomes}");
    }
}

#[test]
fn inv22_too_large_a_share_of_failures_opens_a_circuit() {
    let failure_rate = FailureRate { rate: 0.5, minimum_calls: 6, window: Duration::from_secs(60) };
    let mut circuit = TimedCircuit::closed(Rules { failure_rate: Some(failure_rate), ..rules() });
    circuit.calls("sfsfs");
    assert_eq!(circuit.state(), CircuitState::Closed);
    circuit.calls("f");
    assert_eq!(circuit.state(), CircuitState::Open);
    // After it has closed again, the circuit starts without records.
    circuit.pass(30);
    circuit.calls("ssf");
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[test]
fn inv22_an_open_circuit_says_for_how_long() {
    let mut circuit = TimedCircuit::open();
    circuit.pass(29);
    assert_eq!(circuit.admit().unwrap_err(), Some(Duration::from_secs(1)));
    circuit.pass(1);
    assert!(circuit.admit().is_ok());
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
}

#[test]
fn inv22_no_more_probes_than_there_are_places() {
    let mut circuit = TimedCircuit::half_open();
    let first = circuit.admit().unwrap();
    circuit.admit().unwrap();
    assert_eq!(circuit.admit().unwrap_err(), None);
    // A success keeps its place.
    circuit.record(first, Verdict::Success);
    assert!(circuit.admit().is_err());
}

#[test]
fn inv22_enough_successes_close_and_one_failure_opens() {
    let mut circuit = TimedCircuit::half_open();
    circuit.calls("s-s");
    assert_eq!(circuit.state(), CircuitState::Closed);

    let mut circuit = TimedCircuit::half_open();
    circuit.calls("sf");
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_eq!(circuit.admit().unwrap_err(), Some(Duration::from_secs(30)));
}

#[test]
fn inv22_a_probe_that_is_given_up_leaves_its_place() {
    let mut circuit = TimedCircuit::half_open();
    let first = circuit.admit().unwrap();
    circuit.admit().unwrap();
    assert!(circuit.admit().is_err());
    circuit.circuit.give_back(first);
    // The second return of the same place has no effect.
    circuit.circuit.give_back(first);
    circuit.admit().unwrap();
    assert!(circuit.admit().is_err());
}

#[test]
fn inv22_a_probe_of_which_nothing_is_heard_leaves_its_place() {
    let mut circuit = TimedCircuit::half_open();
    let lost = [circuit.admit().unwrap(), circuit.admit().unwrap()];
    circuit.pass(19);
    assert!(circuit.admit().is_err());
    circuit.pass(1);
    let found = [circuit.admit().unwrap(), circuit.admit().unwrap()];
    assert!(circuit.admit().is_err());
    // Another probe has taken this probe's place.
    circuit.record(lost[0], Verdict::Success);
    assert!(circuit.admit().is_err());
    circuit.record(found[0], Verdict::Success);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    // Its failure still shows that the server is not well.
    circuit.record(lost[1], Verdict::Failure);
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[test]
fn inv22_what_is_heard_late_is_old_news() {
    let mut circuit = TimedCircuit::closed(rules());
    let early: Vec<_> = (0..10).map(|_| circuit.admit().unwrap()).collect();
    circuit.calls("fff");
    for (ticket, verdict) in early[..4].iter().zip([Verdict::Success, Verdict::Failure].iter().cycle()) {
        circuit.record(*ticket, *verdict);
        assert_eq!(circuit.state(), CircuitState::Open);
    }
    circuit.pass(30);
    let probe = circuit.admit().unwrap();
    circuit.record(early[4], Verdict::Success);
    circuit.record(early[5], Verdict::Failure);
    circuit.circuit.give_back(early[6]);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit.record(probe, Verdict::Success);
    circuit.calls("s");
    assert_eq!(circuit.state(), CircuitState::Closed);
    for ticket in &early[7..] {
        circuit.record(*ticket, Verdict::Failure);
    }
    circuit.record(probe, Verdict::Failure);
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[test]
fn absurd_durations_are_no_more_than_very_long() {
    let rules = Rules { open_for: Duration::MAX, ..rules() };
    let mut circuit = TimedCircuit::closed(rules);
    circuit.calls("fff");
    circuit.now = i64::MAX - 1;
    assert_eq!(circuit.admit().unwrap_err(), Some(Duration::from_millis(1)));
    circuit.now = i64::MAX;
    assert!(circuit.circuit.admit(circuit.now, Duration::MAX, &rules).is_ok());
}

#[test]
fn inv22_a_place_is_kept_from_when_the_request_is_sent() {
    let mut circuit = TimedCircuit::half_open();
    let (first, second) = (circuit.admit().unwrap(), circuit.admit().unwrap());
    circuit.pass(19);
    assert_eq!(circuit.confirm(first).unwrap().probe, first.probe);
    circuit.pass(1);
    // The second probe is lost, and the circuit admits another one.
    circuit.admit().unwrap();
    assert!(circuit.confirm(second).is_err(), "two are under way");
    circuit.pass(19);
    let third = circuit.confirm(second).unwrap();
    assert_ne!(third.probe, second.probe, "a place anew");
    assert!(circuit.admit().is_err());
}

#[test]
fn inv22_leave_of_another_phase_is_none() {
    let mut circuit = TimedCircuit::closed(rules());
    let early = circuit.admit().unwrap();
    assert!(circuit.confirm(early).is_ok());
    circuit.calls("fff");
    assert_eq!(circuit.confirm(early).unwrap_err(), Some(Duration::from_secs(30)));
    circuit.pass(30);
    let probe = circuit.confirm(early).unwrap();
    assert!(probe.probe.is_some());
    circuit.admit().unwrap();
    assert!(circuit.confirm(early).is_err());
}

#[test]
fn inv22_a_probe_without_a_time_out_is_not_awaited_for_ever() {
    let mut circuit = TimedCircuit::half_open();
    for _ in 0..2 {
        circuit.circuit.admit(circuit.now, Duration::MAX, &circuit.rules).unwrap();
    }
    circuit.pass(599);
    assert!(circuit.admit().is_err());
    circuit.pass(1);
    circuit.admit().unwrap();
}
