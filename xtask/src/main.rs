//! `cargo xtask`: the commands for work on this repository.
//!
//! One file per command; this one only dispatches.

mod bench;
mod ci;
mod command;
mod redis;
mod report;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for work on this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Test(test::Args),
    Redis(redis::Args),
    Ci(ci::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let verdict = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Redis(args) => redis::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Bench(args) => bench::run(&args),
    };
    verdict.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
