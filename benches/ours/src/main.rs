//! `forge-benches SUITE [--quick]` measures the costs of requestforge, and compares them with floors from
//! the same run. `cargo xtask bench` runs it and reads its output, whose format `forge_bench_kit` defines.
//!
//! Each suite has one file. The program starts itself again for work in a separate process. `serve` is a
//! server whose work does not count. `held N` is a process that holds N tokens. `count CASE N` runs a case
//! for callgrind. A cold build starts the program instead of each compiler.

mod child;
mod local;
mod processors;
mod server;
mod suites;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use forge_bench_kit::Job;

use suites::build::profile;
use suites::tokens_held;

type Failure = Box<dyn Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

/// How long a suite may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// About ten seconds.
    Quick,
    /// As long as a reliable result takes.
    Full,
}

impl Pace {
    /// The number of repetitions at this pace.
    fn rounds(self, quick: usize, full: usize) -> usize {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

fn main() -> ExitCode {
    let ended = match env::var_os(profile::LOG) {
        Some(log) => profile::stand_in(log),
        None => run().map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("forge-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [server::WORD] => server::serve(),
        [server::WORD, processor] => {
            processors::stay_on(processor.parse()?)?;
            server::serve()
        }
        [tokens_held::WORD, tokens] => tokens_held::hold(tokens.parse()?),
        [tokens_held::WORD, tokens, tokens_held::MOKA] => {
            tokens_held::hold_in_moka(tokens.parse()?);
            Ok(())
        }
        _ => match Job::read()? {
            Job::Count { case, times } => suites::client::count(&case, times),
            Job::Suite { name, quick } => run_suite(&name, if quick { Pace::Quick } else { Pace::Full }),
        },
    }
}

fn run_suite(name: &str, pace: Pace) -> Result<()> {
    match name {
        "storm401" => suites::storm401::run(pace),
        "client" => suites::client::run(pace),
        "redis" => suites::redis::run(pace),
        "fleet" => suites::fleet::run(pace),
        "tokens_held" => tokens_held::run(pace),
        "build" => suites::build::run(pace),
        _ => Err(format!("there is no suite `{name}`").into()),
    }
}
