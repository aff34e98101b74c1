//! Tokens at work. Without arguments: servers on this machine, real requests to them, and the promises
//! of this library held against what the servers counted (`promises.rs`). With `--token-url` and the
//! rest: one request to an API of yours, with a token of your authorization server (`your_servers.rs`).
//!
//! ```sh
//! cargo run --example quickstart
//! cargo run --example quickstart -- --help
//! ```

mod promises;
mod timeline;
mod your_servers;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

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

/// An error and its causes, one a line. Nothing in it is a secret, so it may be shown and logged.
struct Chain<'e>(&'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        causes(self.0).skip(1).try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
    }
}

/// The error itself, its cause, the cause of that, …
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
