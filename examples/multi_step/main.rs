//! An API that takes three token calls: that of the application, whose token buys that of the user, which buys
//! a session. The server checks every credential, and counts.
//!
//! ```sh
//! cargo run --example multi_step
//! cargo run --example multi_step -- --help
//! ```
//!
//! What a service of yours would do is in `steps.rs`.

#[path = "../quickstart/chain.rs"]
mod chain;
mod promises;
mod steps;
#[path = "../quickstart/timeline.rs"]
mod timeline;

use std::process::ExitCode;

use chain::Chain;
use clap::Parser;

/// Token calls that buy each other's tokens, on this machine only.
///
/// Exits with another code than 0 when a promise was not kept.
#[derive(Parser)]
struct Options {
    /// How many requests begin at once, from 1 to 10000
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    requests: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match promises::run(options.requests.into()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}
