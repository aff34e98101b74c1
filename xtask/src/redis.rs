//! `cargo xtask redis`: finds a Redis for the tests, and says how to start servers of it.

mod container;
mod debian;
mod engine;
mod hold;
mod http;
mod native;
mod ping;
mod server;
mod shared;

use std::process::{self, ExitCode};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use cargo_metadata::Metadata;
use serde_json::json;

use crate::report::{self, say};
use crate::workspace;
use engine::Engine;
use hold::END;
use server::Server;
pub(crate) use shared::{Shared, VARIABLE};

/// Find a Redis and print how to start servers of it, as one line of JSON.
///
/// In this order: a container, where an engine answers at `DOCKER_HOST` or where Docker has its socket
/// (for Podman set `DOCKER_HOST`); a redis-server or valkey-server on the PATH; Debian's packages,
/// unpacked below target/. Nothing is installed, and no engine is started. What was taken, and why not
/// something else, is told on standard error.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,

    /// Stay until standard input ends, then remove the containers that were started with the answer
    #[arg(long)]
    hold: bool,
}

/// The option that `cargo xtask test` and `cargo xtask bench` have, too.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Choice {
    /// Which kind of Redis server the suites get
    #[arg(long = "redis", value_name = "KIND", env = "FORGE_REDIS_KIND", default_value = "auto")]
    pub(crate) kind: Kind,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A container, else a process
    Auto,
    /// A container, or none
    Container,
    /// A process on this machine, or none
    Native,
}

impl Kind {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Container => "container",
            Self::Native => "native",
        }
    }
}

/// Finds a Redis and prints what was found.
///
/// # Errors
///
/// When there is none; with what was tried, and what to do.
pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    // Standard output is for the answer alone.
    report::leave_stdout_alone();
    let workspace = workspace::load()?;
    let run = Run::new();
    if !args.hold {
        report::answer(find(&workspace, args.choice.kind, &run)?);
        return Ok(ExitCode::SUCCESS);
    }
    let holder = hold::Holder::start(&run);
    match find(&workspace, args.choice.kind, &run) {
        Ok(answer) => {
            report::answer(answer);
            holder.wait();
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            // Whoever holds the other end of the pipe tells people.
            report::answer(json!({ "error": why }));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// One run of the finder. Its containers carry its id, so that they can be found and removed.
#[derive(Clone)]
struct Run {
    id: String,
    /// The engine that may have containers of this run.
    engine: Arc<OnceLock<Engine>>,
}

impl Run {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { id: format!("{:x}-{}", now.as_nanos(), process::id()), engine: Arc::default() }
    }
}

fn find(workspace: &Metadata, kind: Kind, run: &Run) -> Result<String, String> {
    let folder = workspace.target_directory.join("redis");
    let folder = folder.as_std_path();
    let mut refusals = Vec::new();

    if kind != Kind::Native {
        match container::find(folder, run) {
            Ok(server) => {
                // For the suite that tries both kinds; nothing is fetched for it.
                let other = native::on_path().or_else(|_| debian::unpacked_before(folder)).ok();
                return Ok(taken(&server, other.as_ref()));
            }
            Err(why) => refused(&mut refusals, "no container", &why),
        }
    }
    if kind != Kind::Container {
        match native::on_path() {
            Ok(server) => return Ok(taken(&server, None)),
            Err(why) => refused(&mut refusals, "none on the PATH", &why),
        }
        match debian::unpack(folder) {
            Ok(unpacked) => return Ok(taken(&unpacked.server, None)),
            Err(why) => refused(&mut refusals, "no packages", &why),
        }
    }
    Err(format!("there is no Redis for the tests: {}. {}", refusals.join("; "), cures(kind)))
}

fn taken(server: &Server, other: Option<&Server>) -> String {
    say(format_args!("redis: taken: {server}"));
    server.to_json(other).to_string()
}

fn refused(refusals: &mut Vec<String>, what: &str, why: &str) {
    say(format_args!("redis: {what} ({why})"));
    // The rest stands above.
    refusals.push(format!("{what} ({})", why.lines().next().unwrap_or_default()));
}

fn cures(kind: Kind) -> &'static str {
    match kind {
        Kind::Auto => {
            "Start a Docker engine (for Podman, or a socket elsewhere, set DOCKER_HOST), or install \
             redis-server or valkey-server 7 or later"
        }
        Kind::Container => {
            "Start a Docker engine (for Podman, or a socket elsewhere, set DOCKER_HOST), or take \
             `--redis native`"
        }
        Kind::Native => "Install redis-server or valkey-server 7 or later, or take `--redis container`",
    }
}
