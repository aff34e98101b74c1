//! The client-side cost of a request with a token, over a kept connection.

mod caller;

use std::time::Instant;

use forge_bench_kit::{Count, Line, ProcessTime, median, median_error, quartiles, turns};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, yield_now};

use super::two_workers;
use crate::server::Server;
use crate::{Pace, Result, processors};
use caller::Caller;

/// The numbers of requests in the two counted runs. The difference of the runs excludes connecting and
/// warming up.
const TIMES: (usize, usize) = (500, 1_500);

/// The contenders: our client, reqwest, and reqwest once more. The second one shows how much equal
/// contenders differ on this machine.
const CASES: [&str; 3] = [caller::OURS, caller::BEARER, caller::BEARER];

pub(crate) fn run(pace: Pace) -> Result<()> {
    print_counts();
    let many = Batch { in_flight: 64, each: 60, awake: false };
    two_workers()?.block_on(Race::run(Server::start, many, pace))?.print("");
    let one = Batch { in_flight: 1, each: 1_000, awake: false };
    if let Some((first, second)) = processors::two() {
        // This comes last, because this thread and all threads that it starts stay on that processor.
        processors::stay_on(first)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let race = runtime.block_on(Race::run(|| Server::start_on(second), one, pace))?;
        race.print("; client and server on a processor each");
        let awake = Batch { awake: true, ..one };
        let race = runtime.block_on(Race::run(|| Server::start_on(second), awake, pace))?;
        race.print("; client and server on a processor each, of which the client's never rests");
    } else {
        two_workers()?.block_on(Race::run(Server::start, one, pace))?.print("");
    }
    Ok(())
}

/// Runs one case for callgrind. The server is another process, so callgrind does not count its instructions.
/// The client has one thread, so the count does not depend on timing.
pub(crate) fn count(case: &str, times: usize) -> Result<()> {
    let server = Server::start()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let caller = Caller::new(case, server.url())?;
        for _ in 0..times {
            caller.call().await?;
        }
        Ok(())
    })
}

fn print_counts() {
    Count::new("a GET through the client with token auth", caller::OURS, TIMES)
        .against(caller::BEARER)
        .ratio_at_most(0.97)
        .with_misses()
        .note("the client's side alone; plain reqwest with get(str), bearer_auth, the same time-outs and headers")
        .print();
    Count::new("with retries, breaker and logging that need not act", caller::EQUIPPED, TIMES)
        .against(caller::OURS)
        .ratio_at_most(1.01)
        .print();
    Count::new("floor: plain reqwest, URL parsed before, token from an arc-swap", caller::EXECUTE, TIMES)
        .against(caller::BEARER)
        .print();
}

/// This many requests at once, and this many one after the other.
#[derive(Clone, Copy)]
struct Batch {
    in_flight: usize,
    each: usize,
    /// Whether the client's processor keeps running while the client waits for answers. The difference shows
    /// the cost of waking up.
    awake: bool,
}

/// Batches of all contenders, in turn.
struct Race {
    batch: Batch,
    pace: Pace,
    costs: [Vec<Cost>; CASES.len()],
}

/// The cost of a batch.
#[derive(Clone, Copy)]
struct Cost {
    /// Requests per second.
    rate: f64,
    /// Processor time of a request in this process, in microseconds. The server is another process.
    cpu: f64,
}

impl Race {
    /// Each round has its own server, clients and connections. Their places in memory make equal contenders
    /// differ, and rounds with the same ones would not show that.
    async fn run(start: impl Fn() -> Result<Server>, batch: Batch, pace: Pace) -> Result<Self> {
        let mut costs = [const { Vec::new() }; CASES.len()];
        let warm_up = Batch { each: batch.each.div_ceil(4), ..batch };
        for round in 0..pace.rounds(24, 240) {
            let server = start()?;
            let mut callers = CASES.map(|_| None);
            for turn in turns(round, CASES.len()) {
                let caller = Caller::new(CASES[turn], server.url())?;
                warm_up.cost(&caller).await?;
                callers[turn] = Some(caller);
            }
            for turn in turns(round, CASES.len()) {
                if let Some(caller) = &callers[turn] {
                    costs[turn].push(batch.cost(caller).await?);
                }
            }
        }
        Ok(Self { batch, pace, costs })
    }

    fn print(&self, how: &str) {
        let [ours, theirs, again] = &self.costs;
        let of = |costs: &[Cost], of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<_>>();
        let ratios = |costs: &[Cost], one: fn(&Cost) -> f64| -> Vec<f64> {
            costs.iter().zip(theirs).map(|(cost, theirs)| one(cost) / one(theirs)).collect()
        };
        let line = |name: &str, unit: &str, one: fn(&Cost) -> f64| {
            let (compared, control) = (ratios(ours, one), ratios(again, one));
            let awake = if self.batch.awake { ", awake" } else { "" };
            Line::new(
                format!("{name}, {} in flight{awake}", self.batch.in_flight),
                median(&of(ours, one)),
                unit,
            )
            .anchor(format!("reqwest {:.1} {unit}", median(&of(theirs, one))))
            .ratio(median(&compared))
            .spread(format!("{} of the ratios", quartiles(&compared)))
            .note(format!(
                "reqwest against itself: {:.3} ×, middle half {}{how}",
                median(&control),
                quartiles(&control)
            ))
        };
        let rate = line("requests a second through the client", "requests/s", |cost| cost.rate);
        if self.batch.awake {
            // No real client waits like this, so the processor time says nothing.
            return rate.print();
        }
        let rates = ratios(ours, |cost| cost.rate);
        let doubt = 2.0 * median_error(&rates);
        match self.pace {
            Pace::Quick => rate.goal_of_full_run("≥ 1 ×"),
            Pace::Full => rate.goal(
                format!("≥ 1 ×, within {doubt:.3}: two standard errors"),
                median(&rates) >= 1.0 - doubt,
            ),
        }
        .print();
        line("processor time of a request, the client's side", "µs", |cost| cost.cpu).print();
    }
}

impl Batch {
    async fn cost(self, caller: &Caller) -> Result<Cost> {
        let mut tasks = JoinSet::new();
        let mut restless = JoinSet::new();
        if self.awake {
            restless.spawn(async {
                loop {
                    yield_now().await;
                }
            });
        }
        let (begun, cpu) = (Instant::now(), ProcessTime::now());
        for _ in 0..self.in_flight {
            let caller = caller.clone();
            tasks.spawn(async move {
                for _ in 0..self.each {
                    caller.call().await?;
                }
                Result::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let requests = (self.in_flight * self.each) as f64;
        Ok(Cost { rate: requests / took, cpu: cpu * 1e6 / requests })
    }
}
