//! A request with a token, over a connection that is kept: what it costs on the client's side.

mod caller;

use std::time::{Duration, Instant};

use forge_bench_kit::{Count, Line, median, quantile, quartiles};
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

/// Batches in turns, in requests a second: ours, reqwest's, and reqwest's once more, which says what the
/// machine does to equals.
struct Race {
    batch: Batch,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    again: Vec<f64>,
}

impl Race {
    async fn run(callers: [&Caller; 3], batch: Batch, rounds: usize) -> Result<Self> {
        let mut rates = [const { Vec::new() }; 3];
        for caller in callers {
            batch.rate(caller).await?;
        }
        for round in 0..rounds {
            // Another one begins each time, in case that is an advantage.
            for turn in 0..callers.len() {
                let turn = (round + turn) % callers.len();
                rates[turn].push(batch.rate(callers[turn]).await?);
            }
        }
        let [ours, theirs, again] = rates;
        Ok(Self { batch, ours, theirs, again })
    }

    fn print(&self) {
        let of = |rates: &[f64]| -> Vec<f64> {
            rates.iter().zip(&self.theirs).map(|(rate, theirs)| rate / theirs).collect()
        };
        let (ratios, control) = (of(&self.ours), of(&self.again));
        let ratio = median(&ratios);
        Line::new(
            format!("requests a second through the client, {} in flight", self.batch.in_flight),
            median(&self.ours),
            "requests/s",
        )
        .anchor(format!("reqwest {:.0} requests/s", median(&self.theirs)))
        .ratio(ratio)
        .goal("≥ 1 ×, as far as a control can tell", ratio >= 1.0 - noise(&control))
        .spread(quartiles(&ratios))
        .note(format!("reqwest against itself: {}", quartiles(&control)))
        .print();
    }
}

/// How far a ratio of equals strays: half of the pairs are nearer to 1.
fn noise(control: &[f64]) -> f64 {
    (quantile(control, 0.75) - 1.0).max(1.0 - quantile(control, 0.25))
}

impl Batch {
    /// Requests a second.
    async fn rate(self, caller: &Caller) -> Result<f64> {
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
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
        Ok(per_second(self.in_flight * self.each, begun.elapsed()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn per_second(times: usize, took: Duration) -> f64 {
    times as f64 / took.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_farther_quartile() {
        assert!((noise(&[0.9, 0.98, 1.0, 1.01, 1.3]) - 0.02).abs() < 1e-9);
        assert!((noise(&[0.5, 0.999, 1.0, 1.05, 1.06]) - 0.05).abs() < 1e-9);
    }
}
