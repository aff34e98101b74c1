//! An API that needs three token calls. The application's token buys the user's token, and the user's token
//! buys a session. The server checks every credential, and counts.
//!
//! ```sh
//! cargo run --example multi_step
//! cargo run --example multi_step -- --help
//! ```
//!
//! `steps.rs` has the code that your service would contain.

#[path = "../quickstart/chain.rs"]
mod chain;
mod promises;
mod steps;
#[path = "../quickstart/timeline.rs"]
mod timeline;

use std::process::ExitCode;

use chain::Chain;
use clap::Parser;

/// Gets a token through three token calls that build on each other, from a server on this machine.
///
/// Exits with a code other than 0 if a promise was not kept.
#[derive(Parser)]
struct Options {
    /// The number of requests that begin at once, from 1 to 10000
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
