//! The breaker's own source, compiled over locks with which shuttle chooses the thread that runs next. It
//! tries many thousands of orders.

#![allow(dead_code, unreachable_pub, unused_imports, missing_docs, clippy::expect_used)]

#[path = "../../src/breaker/mod.rs"]
mod breaker;
mod origin;
mod rt;
mod world;

use breaker::CircuitState;
use world::Fate::{Dropped, Fails, Hangs, Succeeds};
use world::{World, explore};

#[test]
fn inv22_a_thousand_callers_at_half_open_are_at_most_three_requests() {
    explore(6, || {
        let world = World::half_open();
        world.callers(1_000, |number| match number {
            1 => Hangs,
            2 => Dropped,
            _ => Succeeds,
        });
        // The dropped request has left its place to another one: one of these, or the next one.
        assert!(matches!(world.sent(), 3 | 4));
        world.callers(1, |_| Succeeds);
        assert_eq!(world.sent(), 4);
        assert!(world.most_at_once() <= 3);
        assert_eq!(world.state(), CircuitState::HalfOpen, "one hangs");

        world.give_up_the_hanging();
        world.callers(50, |_| Succeeds);
        assert_eq!(world.state(), CircuitState::Closed);
        let sent = world.sent();
        world.callers(10, |_| Succeeds);
        assert_eq!(world.sent(), sent + 10, "all are sent again");
    });
}

#[test]
fn inv22_no_more_probes_at_once_than_allowed_however_they_end() {
    explore(1_000, || {
        let world = World::half_open();
        world.callers(8, |number| match number {
            1 | 6 => Hangs,
            5 => Succeeds,
            _ => Dropped,
        });
        assert!(world.most_at_once() <= 3);
        assert_eq!(world.state(), CircuitState::HalfOpen);
        world.give_up_the_hanging();
        world.callers(8, |_| Fails);
        assert!(world.most_at_once() <= 3);
        assert_eq!(world.state(), CircuitState::Open);
        let sent = world.sent();
        world.callers(2, |_| Succeeds);
        assert_eq!(world.sent(), sent, "an open circuit sends nothing");
    });
}

#[test]
fn inv22_those_whose_tokens_took_long_are_no_more_than_allowed_either() {
    explore(1_000, || {
        let world = World::half_open();
        world.late_callers(3, |number| if number == 2 { Hangs } else { Dropped });
        assert!(world.sent() >= 3 && world.most_at_once() <= 3);
        world.give_up_the_hanging();
        world.callers(8, |_| Succeeds);
        assert_eq!(world.state(), CircuitState::Closed);
    });
}

#[test]
fn inv22_whatever_happens_the_circuit_goes_its_way_and_closes_when_all_is_well() {
    explore(1_000, || {
        let world = World::closed();
        world.chaos(6, 4);
        // The listener has checked that each state may follow the one before.
        world.expect_each_transition();
        world.pass_open_time();
        for _ in 0..3 {
            if world.state() != CircuitState::Closed {
                world.callers(1, |_| Succeeds);
            }
        }
        assert_eq!(world.state(), CircuitState::Closed, "wedged");
        world.expect_each_transition();
    });
}

#[test]
fn inv22_listeners_see_a_reset_among_probes_and_failures_in_order_and_the_breaker_still_works() {
    explore(1_000, || {
        let world = World::half_open();
        let reset = world.reset();
        world.callers(6, |number| match number {
            1 => Hangs,
            2 => Dropped,
            3 => Fails,
            _ => Succeeds,
        });
        reset.join().expect("no panic");
        world.expect_each_transition();
        // A last reset closes the circuit after any order of the other threads, and it stays closed.
        world.reset().join().expect("no panic");
        assert_eq!(world.state(), CircuitState::Closed);
        let sent = world.sent();
        world.give_up_the_hanging();
        world.callers(4, |_| Succeeds);
        assert_eq!((world.state(), world.sent()), (CircuitState::Closed, sent + 4));
        world.expect_each_transition();
    });
}
