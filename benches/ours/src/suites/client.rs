//! A request with a token, over a connection that is kept: what it costs on the client's side.

mod caller;

use std::time::Instant;

use forge_bench_kit::{Count, Line, ProcessTime, median, median_error, quartiles, turns};
use tokio::task::JoinSet;

use super::two_workers;
use crate::server::Server;
use crate::{Pace, Result};
use caller::Caller;

/// The numbers of requests whose difference is counted: enough that connecting and warming up drop out.
const TIMES: (usize, usize) = (500, 1_500);

pub(crate) fn run(pace: Pace) -> Result<()> {
    print_counts();
    let server = Server::start()?;
    two_workers()?.block_on(async {
        let caller = |case| Caller::new(case, server.url());
        let callers = [&caller(caller::OURS)?, &caller(caller::BEARER)?, &caller(caller::BEARER)?];
        for (in_flight, each) in [(1, 1_000), (64, 40)] {
            Race::run(callers, Batch { in_flight, each }, pace.rounds(24, 240)).await?.print();
        }
        Ok(())
    })
}

/// One case for callgrind. The server is another process, whose instructions are not counted, and there is
/// one thread, so that nothing depends on who is faster.
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

/// So many requests at once, and so many one after the other.
#[derive(Clone, Copy)]
struct Batch {
    in_flight: usize,
    each: usize,
}

/// Batches in turns: ours, reqwest's, and reqwest's once more, which says what the machine does to equals.
struct Race {
    batch: Batch,
    ours: Vec<Cost>,
    theirs: Vec<Cost>,
    again: Vec<Cost>,
}

/// What a batch took.
#[derive(Clone, Copy)]
struct Cost {
    /// Requests a second.
    rate: f64,
    /// Processor time of a request in this process, in microseconds: the server is another one.
    cpu: f64,
}

impl Race {
    async fn run(callers: [&Caller; 3], batch: Batch, rounds: usize) -> Result<Self> {
        let mut costs = [const { Vec::new() }; 3];
        for caller in callers {
            batch.cost(caller).await?;
        }
        for round in 0..rounds {
            for turn in turns(round, callers.len()) {
                costs[turn].push(batch.cost(callers[turn]).await?);
            }
        }
        let [ours, theirs, again] = costs;
        Ok(Self { batch, ours, theirs, again })
    }

    fn print(&self) {
        let of = |costs: &[Cost], of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<_>>();
        let ratios = |costs: &[Cost], one: fn(&Cost) -> f64| -> Vec<f64> {
            costs.iter().zip(&self.theirs).map(|(cost, theirs)| one(cost) / one(theirs)).collect()
        };
        let line = |name: &str, unit: &str, one: fn(&Cost) -> f64| {
            let (ours, control) = (ratios(&self.ours, one), ratios(&self.again, one));
            Line::new(
                format!("{name}, {} in flight", self.batch.in_flight),
                median(&of(&self.ours, one)),
                unit,
            )
            .anchor(format!("reqwest {:.1} {unit}", median(&of(&self.theirs, one))))
            .ratio(median(&ours))
            .spread(format!("{} of the ratios", quartiles(&ours)))
            .note(format!(
                "reqwest against itself: {:.3} ×, middle half {}",
                median(&control),
                quartiles(&control)
            ))
        };
        let rates = ratios(&self.ours, |cost| cost.rate);
        let doubt = 2.0 * median_error(&rates).hypot(median_error(&ratios(&self.again, |cost| cost.rate)));
        line("requests a second through the client", "requests/s", |cost| cost.rate)
            .goal(format!("≥ 1 ×, within {doubt:.3}: two standard errors"), median(&rates) >= 1.0 - doubt)
            .print();
        line("processor time of a request, the client's side", "µs", |cost| cost.cpu).print();
    }
}

impl Batch {
    async fn cost(self, caller: &Caller) -> Result<Cost> {
        let mut tasks = JoinSet::new();
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
