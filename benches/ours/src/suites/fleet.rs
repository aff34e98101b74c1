//! More and more processes share one token: the load on their authorization server and their Redis.

mod commands;
mod members;

use std::time::Duration;

use forge_bench_kit::{Line, Plot, median, progress};
use forge_tests::{AuthorizationServer, RedisServer};
use tokio::time::sleep;

use super::two_workers;
use crate::{Pace, Result};
use commands::Commands;
use members::Members;

const SIZES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// The number of sizes in a quick run.
const QUICK: usize = 4;
/// The lifetime of a token. A manager hands it out for half of that.
const LIFETIME: Duration = Duration::from_secs(2);
/// After this time no manager hands out the token any more.
const EXPIRED: Duration = Duration::from_millis(1_050);
/// The duration of a token call: long enough that all processes ask while it runs.
const CALL: Duration = Duration::from_millis(50);
/// Tasks in each process.
const TASKS: usize = 4;

pub(crate) fn run(pace: Pace) -> Result<()> {
    let sizes = &SIZES[..pace.rounds(QUICK, SIZES.len())];
    two_workers()?.block_on(async {
        let (redis, issuer) = (RedisServer::try_start_with(&[]).await?, AuthorizationServer::start().await?);
        issuer.set_lifetime(Some(LIFETIME));
        issuer.set_delay(CALL);
        let mut fleets = Vec::new();
        for size in sizes {
            progress(format_args!("{size} processes"));
            fleets.push(Fleet::run(*size, &redis, &issuer, pace.rounds(2, 20)).await?);
        }
        print(&fleets);
        if pace == Pace::Quick {
            Line::full_run_only("token calls per expiry, 16 and 32 processes", "1").print();
        }
        Ok(())
    })
}

/// The results for a fleet of one size.
#[derive(Clone, Copy, Debug)]
struct Fleet {
    size: f64,
    /// The highest number of token calls for one expiry.
    calls_per_expiry: f64,
    /// The median number of commands per process and expiry.
    commands: f64,
}

impl Fleet {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    async fn run(
        size: usize,
        redis: &RedisServer,
        issuer: &AuthorizationServer,
        expiries: usize,
    ) -> Result<Self> {
        let key = format!("fleet-of-{size}");
        let mut members = Members::start(size, redis, issuer)?;
        let counter = Commands::of(redis).await?;
        members.all_get(&key, TASKS)?;
        let (mut calls, mut costs) = (0, Vec::new());
        for _ in 0..expiries {
            let (before, calls_before) = (counter.sent().await?, issuer.token_calls());
            // No process uses the token while it expires. Then all ask at once.
            sleep(EXPIRED).await;
            members.all_get(&key, TASKS)?;
            costs.push((counter.sent().await? - before) as f64 / size as f64);
            calls = calls.max(issuer.token_calls() - calls_before);
        }
        Ok(Self { size: size as f64, calls_per_expiry: calls as f64, commands: median(&costs) })
    }
}

fn print(fleets: &[Fleet]) {
    let greatest = |of: fn(&Fleet) -> f64| fleets.iter().map(of).fold(0.0, f64::max);
    let (most, alone) =
        (greatest(|fleet| fleet.size), fleets.first().map_or(f64::NAN, |fleet| fleet.commands));
    let calls = greatest(|fleet| fleet.calls_per_expiry);
    Line::new(format!("token calls per expiry, 1 to {most} processes"), calls, "calls")
        .anchor("without sharing: one for each process")
        .goal("1 at each size", (calls - 1.0).abs() < f64::EPSILON)
        .note("the most of all expiries and sizes; all processes ask at once when the token has expired")
        .print();
    let commands = greatest(|fleet| fleet.commands);
    Line::new(
        format!("Redis commands per process and rotation, 1 to {most} processes"),
        commands,
        "commands",
    )
    .anchor(format!("one process alone: {alone}"))
    .ratio(commands / alone)
    .goal("constant: no more than one alone", commands <= alone)
    .note("the most of all sizes; without signs of life (PING)")
    .print();
    let curve = |of: fn(&Fleet) -> f64| fleets.iter().map(|fleet| (fleet.size, of(fleet))).collect();
    Plot::new("A fleet that shares a token", "processes", "per expiry")
        .logarithmic(true, false)
        .series("token calls", curve(|fleet| fleet.calls_per_expiry))
        .series("Redis commands of each process", curve(|fleet| fleet.commands))
        .print();
}
