//! Tokens at work. Without arguments it starts servers on this machine, sends real requests to them, and
//! checks the promises of this library against their counts (`promises.rs`). With `--token-url` and the
//! other options it sends one request to your API, with a token of your authorization server
//! (`your_servers.rs`).
//!
//! ```sh
//! cargo run --example quickstart
//! cargo run --example quickstart -- --help
//! ```

mod chain;
mod promises;
mod timeline;
mod your_servers;

use std::process::ExitCode;

use chain::Chain;
use your_servers::Job;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Job::from_options() {
        Some(job) => job.run().await.map_err(|error| (your_servers::hint(&*error), error)),
        None => promises::run().await.map_err(|error| (None, error)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err((hint, error)) => {
            eprintln!("error: {}", Chain(&*error));
            if let Some(hint) = hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
