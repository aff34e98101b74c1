//! Measures whether two threads that ask at once slow each other down.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use forge_bench_kit::{Line, median, progress, quartiles, turns};

use crate::Failure;
use crate::floors::timed;
use crate::peers::{self, OURS, PEERS};
use crate::world::{HOUR, World};

pub fn run(world: &World, quick: bool) -> Result<(), Failure> {
    let handle = world.callers.handle();
    let mut cases: Vec<(String, Case<'_>)> = Vec::new();
    let mut servers = Vec::new();

    let server = world.callers.block_on(world.token_server(Duration::ZERO, HOUR))?;
    let manager = peers::manager(&server)?;
    world.callers.block_on(manager.get_token())?;
    servers.push(server);
    let borrowing = {
        let manager = manager.clone();
        move |times| timed(times, || manager.with_token(|token| token.access_token().len()))
    };
    cases.push((BORROWING.to_owned(), Box::new(borrowing)));
    cases.push((OWNED.to_owned(), Box::new(move |times| timed(times, || manager.cached()))));
    for entry in [OURS].iter().chain(&PEERS) {
        let server = world.callers.block_on(world.token_server(Duration::ZERO, HOUR))?;
        let peer = world.callers.block_on(entry.with_token(&server))?;
        servers.push(server);
        let name = format!("{}: get_token", entry.name);
        cases.push((name, Box::new(move |times| peer.time(handle, times))));
    }

    progress(format_args!("{} cases, alone and by two threads at once, in turn", cases.len()));
    let rounds = if quick { 41 } else { 301 };
    let mut trials: Vec<Trials> = cases.iter().map(|(_, case)| Trials::calibrate(case)).collect();
    for round in 0..rounds {
        for place in turns(round, cases.len()) {
            trials[place].round(&cases[place].1);
        }
    }

    for ((name, _), trials) in cases.iter().zip(&trials) {
        let line_name = format!("{name}, two threads");
        let goal = if name == BORROWING { "≤ 1.3 × of one thread" } else { "" };
        let Some(good) = trials.good() else {
            let why = "the threads hardly ever had two processors to themselves";
            Line::not_measured(line_name, goal, why).print();
            continue;
        };
        let of = |figure: fn(&Round) -> f64| good.iter().map(|round| figure(round)).collect::<Vec<_>>();
        let (alone, both) = (of(|round| round.alone), of(|round| round.both));
        let ratios = of(|round| round.both / round.alone);
        let ratio = median(&ratios);
        let mut line = Line::new(line_name, median(&both), "ns")
            .anchor(format!("one thread: {:.1} ns", median(&alone)))
            .ratio(ratio)
            .spread(quartiles(&ratios));
        if name == BORROWING {
            line = line.goal(goal, ratio <= 1.3);
        }
        line.print();
    }
    Ok(())
}

const BORROWING: &str = "requestforge: with_token (borrowing)";
const OWNED: &str = "requestforge: cached (an owned Arc)";

/// Repeats its work this many times, and returns the processor time of this thread.
type Case<'a> = Box<dyn Fn(usize) -> Duration + Sync + 'a>;

#[derive(Default)]
struct Trials {
    times: usize,
    rounds: Vec<Round>,
}

struct Round {
    /// Nanoseconds per repetition with one thread.
    alone: f64,
    /// Nanoseconds per repetition of each of two threads.
    both: f64,
    /// Whether both threads ran all the time. If not, they did not run at once.
    at_once: bool,
}

impl Trials {
    fn calibrate(case: &Case<'_>) -> Self {
        let mut times = 1_000;
        while case(times) < Duration::from_millis(2) {
            times *= 2;
        }
        Self { times, ..Self::default() }
    }

    #[allow(clippy::cast_precision_loss)]
    fn round(&mut self, case: &Case<'_>) {
        let per_one = |time: Duration| time.as_nanos() as f64 / self.times as f64;
        let alone = per_one(case(self.times));
        let (both, at_once) = by_two(case, self.times);
        let both = per_one(both);
        self.rounds.push(Round { alone, both, at_once });
    }

    /// The rounds in which both threads ran at once, if there are enough of them.
    fn good(&self) -> Option<Vec<&Round>> {
        let good: Vec<&Round> = self.rounds.iter().filter(|round| round.at_once).collect();
        (good.len() >= ENOUGH).then_some(good)
    }
}

const ENOUGH: usize = 5;

/// The mean processor time of two threads, and whether both ran all the time.
fn by_two(case: &Case<'_>, times: usize) -> (Duration, bool) {
    let barrier = Barrier::new(2);
    let one = || {
        barrier.wait();
        let start = Instant::now();
        let spent = case(times);
        (spent, start.elapsed().as_secs_f64() < spent.as_secs_f64() * 1.15)
    };
    thread::scope(|scope| {
        let other = scope.spawn(one);
        let (mine, mine_ran) = one();
        let (others, others_ran) = other.join().unwrap_or((mine, false));
        ((mine + others) / 2, mine_ran && others_ran)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(at_once: &[bool]) -> Trials {
        let round = |&at_once| Round { alone: 1.0, both: 1.0, at_once };
        Trials { times: 1, rounds: at_once.iter().map(round).collect() }
    }

    #[test]
    fn only_rounds_with_two_processors_count() {
        let trials = trials(&[true, false, true, true, true, false, true]);
        assert_eq!(trials.good().map(|good| good.len()), Some(ENOUGH));
    }

    #[test]
    fn too_few_rounds_with_two_processors_say_nothing() {
        assert!(trials(&[true, true, false, false, false, false, true, true]).good().is_none());
    }
}
