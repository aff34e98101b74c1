//! Compares our manager with other token caches, in one process. `cargo xtask bench` runs it, suite by
//! suite.

pub mod count;
mod floors;
mod peers;
mod suites;
mod token_server;
mod world;

use std::error::Error;

use forge_bench_kit::Job;

/// Any error, for the person at the terminal.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Does the job that the command line asks for.
///
/// # Errors
///
/// A server or a peer did not start, or our manager did not do its work.
pub fn run() -> Result<(), Failure> {
    match Job::read()? {
        Job::Suite { name, quick } => suites::run(&name, quick),
        Job::Count { case, times } => count::run(&case, times, || ()),
    }
}
