//! The random events of a simulated life, and their frequencies.

use proptest::prelude::*;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// An event of a simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// Time passes.
    Pass(i64),
    /// An operator sets the wall clock.
    Step(i64),
    /// The machine sleeps.
    Suspend(i64),
    /// Tokens issued from now on live this long, in milliseconds.
    Lifetime(Option<i64>),
    /// Whether tokens issued from now on state their issue time, and come with refresh tokens.
    Tokens { say_when: bool, refreshable: bool },
    /// How calls end from now on.
    Server(Health),
    /// All refresh tokens die.
    RevokeRefreshTokens,
    /// Each call takes this long. Meanwhile the wall clock steps and the machine sleeps by these times.
    Calls { take: i64, step: i64, suspend: i64 },
    /// Many calls of `get_token`, this far apart.
    Poll { times: u8, apart: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    Transient,
    RetryAfter(i64),
    Permanent,
}

fn lifetimes() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        1 => Just(None),
        2 => (SECOND..MINUTE).prop_map(Some),
        2 => (MINUTE..HOUR).prop_map(Some),
        2 => Just(Some(HOUR)),
        2 => (HOUR..DAY).prop_map(Some),
        1 => (DAY..30 * DAY).prop_map(Some),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(HOUR),
        Just(-HOUR),
        Just(DAY),
        Just(-DAY),
        -10 * SECOND..10 * SECOND,
        -400 * DAY..400 * DAY,
    ]
}

fn healths() -> impl Strategy<Value = Health> {
    prop_oneof![
        4 => Just(Health::Well),
        2 => Just(Health::Transient),
        1 => Just(Health::Permanent),
        1 => (1_i64..10_000).prop_map(Health::RetryAfter),
    ]
}

/// Events between calls only: no clock changes during a call.
pub(crate) fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..MINUTE).prop_map(Event::Pass),
        6 => (MINUTE..HOUR).prop_map(Event::Pass),
        3 => (HOUR..2 * DAY).prop_map(Event::Pass),
        6 => (1..10_u8, 1..20 * MINUTE).prop_map(|(times, apart)| Event::Poll { times, apart }),
        1 => steps().prop_map(Event::Step),
        1 => (1..2 * DAY).prop_map(Event::Suspend),
        2 => lifetimes().prop_map(Event::Lifetime),
        1 => any::<(bool, bool)>()
            .prop_map(|(say_when, refreshable)| Event::Tokens { say_when, refreshable }),
        3 => healths().prop_map(Event::Server),
        1 => Just(Event::RevokeRefreshTokens),
    ]
}
