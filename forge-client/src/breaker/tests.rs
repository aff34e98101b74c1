use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{Clock, ManualClock};

use crate::breaker::CircuitState::{Closed, HalfOpen, Open};
use crate::breaker::{CircuitBreaker, CircuitBreakerBuilder, Verdict};
use crate::origin::{RequestUrl, absolute};

const TIMEOUT: Duration = Duration::from_secs(10);

fn url(text: &str) -> RequestUrl {
    absolute("url", text).unwrap().into()
}

fn timed(
    configure: impl FnOnce(CircuitBreakerBuilder) -> CircuitBreakerBuilder,
) -> (CircuitBreaker, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let builder = CircuitBreaker::builder().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    (configure(builder).build().unwrap(), clock)
}

fn fail(breaker: &CircuitBreaker, url: &RequestUrl, times: u32) {
    for _ in 0..times {
        breaker.admit(url, TIMEOUT).unwrap().record(Verdict::Failure);
    }
}

#[test]
fn inv22_each_origin_has_a_circuit_of_its_own() {
    let (breaker, clock) = timed(|builder| builder);
    fail(&breaker, &url("https://a.example/x?y"), 5);
    for (other, is_open) in [
        ("https://a.example:443/z", true),
        ("https://A.example", true),
        ("https://a.example:444", false),
        ("http://a.example", false),
        ("https://b.example", false),
    ] {
        assert_eq!(breaker.admit(&url(other), TIMEOUT).is_err(), is_open, "{other}");
        assert_eq!(breaker.refuses_after(Duration::ZERO, &url(other)), is_open, "{other}");
        let state = if is_open { Open } else { Closed };
        assert_eq!(breaker.state(other).unwrap(), state, "{other}");
    }
    let a = url("https://a.example");
    assert!(breaker.refuses_after(Duration::from_secs(29), &a));
    assert!(!breaker.refuses_after(Duration::from_secs(30), &a));
    clock.advance(Duration::from_secs(30));
    assert_eq!(breaker.state("https://a.example").unwrap(), HalfOpen);
}

#[test]
fn inv16_an_origin_that_repeats_a_secret_is_not_told() {
    let transitions = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&transitions);
    let (breaker, _) = timed(|builder| {
        builder.on_transition(move |transition| listener.lock().unwrap().push(format!("{transition:?}")))
    });
    let masked = |url, shown: &str| RequestUrl::masked(absolute("url", url).unwrap(), shown.to_owned());
    let secret_host = masked("https://canary.example/x", "***");
    let secret_path = masked("https://a.example/canary", "https://a.example/***");
    for (url, origin) in [(secret_host, "***"), (secret_path, "https://a.example")] {
        fail(&breaker, &url, 5);
        let refusal = breaker.admit(&url, TIMEOUT).err().unwrap();
        assert!(refusal.to_string().contains(&format!("circuit of {origin} is open")), "{refusal}");
    }
    assert_eq!(breaker.state("https://canary.example").unwrap(), Open);
    let shown = transitions.lock().unwrap().concat();
    assert!(shown.contains("\"***\"") && !shown.contains("canary"), "{shown}");
}

#[test]
fn inv22_a_permit_that_is_dropped_gives_its_place_back() {
    let (breaker, clock) = timed(|builder| builder.half_open_probes(1));
    let url = url("https://a.example");
    fail(&breaker, &url, 5);
    clock.advance(Duration::from_secs(30));
    let probe = breaker.admit(&url, TIMEOUT).unwrap();
    assert!(breaker.admit(&url, TIMEOUT).is_err());
    drop(probe);
    breaker.admit(&url, TIMEOUT).unwrap().record(Verdict::Success);
    assert_eq!(breaker.state("https://a.example").unwrap(), Closed);
}

#[test]
fn a_refusal_names_the_origin_and_the_time_left() {
    let (breaker, clock) = timed(|builder| builder.half_open_probes(1));
    let url = url("https://a.example:8443/canary?canary");
    fail(&breaker, &url, 5);
    clock.advance(Duration::from_secs(10));
    let refusal = breaker.admit(&url, TIMEOUT).err().unwrap();
    assert_eq!(refusal.origin(), "https://a.example:8443");
    assert_eq!(refusal.time_left(), Some(Duration::from_secs(20)));
    assert_eq!(refusal.to_string(), "the circuit of https://a.example:8443 is open for another 20s");
    clock.advance(Duration::from_secs(20));
    let _probe = breaker.admit(&url, TIMEOUT).unwrap();
    let refusal = breaker.admit(&url, TIMEOUT).err().unwrap();
    assert_eq!(refusal.time_left(), None);
    assert!(refusal.to_string().ends_with("half-open, and waits for its probes"));
}

#[test]
fn transitions_are_told_in_their_order_to_one_who_may_ask_back() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let breaker = Arc::new(Mutex::new(None::<CircuitBreaker>));
    let (listening, asking) = (Arc::clone(&told), Arc::clone(&breaker));
    let (built, clock) = timed(|builder| {
        builder.on_transition(move |transition| {
            let breaker = asking.lock().unwrap().clone().unwrap();
            let state = breaker.state(transition.origin()).unwrap();
            listening.lock().unwrap().push((transition.from(), transition.to(), state));
            if transition.to() == HalfOpen {
                // A call from within another one.
                breaker.admit(&url("https://a.example"), TIMEOUT).unwrap().record(Verdict::Failure);
                assert_eq!(listening.lock().unwrap().len(), 2);
            }
        })
    });
    *breaker.lock().unwrap() = Some(built.clone());
    fail(&built, &url("https://a.example"), 5);
    clock.advance(Duration::from_secs(30));
    assert_eq!(built.state("https://a.example").unwrap(), Open);
    let expected = [(Closed, Open, Open), (Open, HalfOpen, HalfOpen), (HalfOpen, Open, Open)];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn a_listener_that_panics_takes_no_probes_place_and_is_told_the_next_time() {
    let told = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&told);
    let (breaker, clock) = timed(|builder| {
        builder.half_open_probes(1).on_transition(move |transition| {
            *counted.lock().unwrap() += 1;
            assert_ne!(transition.to(), HalfOpen, "a listener that panics");
        })
    });
    let url = url("https://a.example");
    fail(&breaker, &url, 5);
    clock.advance(Duration::from_secs(30));
    let asking = std::panic::AssertUnwindSafe(|| breaker.admit(&url, TIMEOUT).map(drop));
    assert!(std::panic::catch_unwind(asking).is_err());
    breaker.admit(&url, TIMEOUT).unwrap().record(Verdict::Success);
    assert_eq!(breaker.state("https://a.example").unwrap(), Closed);
    assert_eq!(*told.lock().unwrap(), 3);
}

#[test]
fn inv22_a_reset_closes_every_circuit_and_forgets_past_failures_and_requests_under_way() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listening = Arc::clone(&told);
    let (breaker, clock) = timed(|builder| {
        let builder = builder.failure_rate(0.5, 10, Duration::from_secs(60));
        builder.on_transition(move |transition| {
            listening.lock().unwrap().push((
                transition.origin().to_owned(),
                transition.from(),
                transition.to(),
            ));
        })
    });
    let [open, half_open, closed] =
        ["https://open.example", "https://half.example", "https://closed.example"];
    fail(&breaker, &url(half_open), 5);
    clock.advance(Duration::from_secs(30));
    let probe = breaker.admit(&url(half_open), TIMEOUT).unwrap();
    let late = breaker.admit(&url(open), TIMEOUT).unwrap();
    fail(&breaker, &url(open), 5);
    fail(&breaker, &url(closed), 4);
    let before = breaker.admit(&url(closed), TIMEOUT).unwrap();
    told.lock().unwrap().clear();

    breaker.clone().reset();
    let transitions = [(half_open, HalfOpen, Closed), (open, Open, Closed)];
    let transitions = transitions.map(|(origin, from, to)| (origin.to_owned(), from, to));
    assert_eq!(*told.lock().unwrap(), transitions, "a closed circuit makes no transition");
    for permit in [probe, late, before] {
        permit.record(Verdict::Failure);
    }
    for origin in [open, half_open, closed] {
        fail(&breaker, &url(origin), 4);
        assert_eq!(breaker.state(origin).unwrap(), Closed, "{origin}: four failures since the reset");
        fail(&breaker, &url(origin), 1);
        assert_eq!(breaker.state(origin).unwrap(), Open, "{origin}: five failures since the reset");
    }
}

#[test]
fn inv22_a_listener_that_panics_at_a_reset_leaves_no_circuit_open() {
    let (breaker, _) = timed(|builder| {
        builder.on_transition(|transition| assert_ne!(transition.to(), Closed, "a listener that panics"))
    });
    let origins = ["https://a.example", "https://b.example"];
    for origin in origins {
        fail(&breaker, &url(origin), 5);
    }
    let resetting = std::panic::AssertUnwindSafe(|| breaker.reset());
    assert!(std::panic::catch_unwind(resetting).is_err());
    assert!(origins.iter().all(|origin| !breaker.refuses_after(Duration::ZERO, &url(origin))));
}

#[test]
fn a_state_is_asked_for_by_an_absolute_url() {
    let breaker = CircuitBreaker::new();
    for not_one in ["/users", "ftp://a.example", "https://canary@a.example", ""] {
        let error = breaker.state(not_one).unwrap_err();
        assert_eq!(error.field(), "url");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[test]
fn the_thousand_origins_used_last_are_remembered() {
    let (breaker, clock) = timed(|builder| builder.failure_threshold(1));
    let fail_at = |number: u32| {
        fail(&breaker, &url(&format!("http://{number}.example")), 1);
        clock.advance(Duration::from_millis(1));
    };
    let is_known =
        |number: u32| breaker.refuses_after(Duration::ZERO, &url(&format!("http://{number}.example")));
    (0..1_000).for_each(fail_at);
    // This use counts, although the breaker refuses the call.
    assert!(breaker.admit(&url("http://0.example"), TIMEOUT).is_err());
    (1_000..1_010).for_each(fail_at);
    assert!(is_known(0) && (11..1_010).all(is_known));
    assert!(!(1..=10).any(is_known));
}
