//! `cargo xtask redis`: finds a Redis for the tests, and tells them how to start its servers, or starts one.

mod container;
mod debian;
mod engine;
mod hold;
mod http;
mod native;
mod ping;
mod server;
mod shared;
mod started;

use std::io::{self, IsTerminal};
use std::process::{self, ExitCode};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use cargo_metadata::Metadata;
use serde_json::{Value, json};

use crate::report::{self, say};
use crate::workspace;
use engine::Engine;
use hold::END;
use server::Server;
pub(crate) use shared::{SharedRedis, VARIABLE};
use started::StartedServer;

/// Find a Redis and print how to start servers of it, as one line of JSON.
///
/// The command tries three places in this order: a container, if an engine answers at `DOCKER_HOST` or at Docker's
/// socket (for Podman, set `DOCKER_HOST`); a redis-server or valkey-server on the PATH; Debian's packages, which it
/// unpacks below target/. It installs nothing and starts no engine. Standard error names the place that was taken
/// and the reason why each earlier one was not.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,

    /// Stay until standard input ends, then remove the containers that were started with the answer
    #[arg(long)]
    hold: bool,

    /// Start one empty server, print its URL instead, and stop the server when standard input ends (Ctrl-D)
    #[arg(long, conflicts_with = "hold")]
    start: bool,
}

/// The environment variable that chooses as `--redis` does.
pub(crate) const KIND_VARIABLE: &str = "FORGE_REDIS_KIND";

/// The option that `cargo xtask test` and `cargo xtask bench` have, too.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Choice {
    /// The kind of Redis server
    #[arg(long = "redis", value_name = "KIND", env = KIND_VARIABLE, default_value = "auto")]
    pub(crate) kind: Kind,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A container, or a process if there is no container
    Auto,
    /// A container only
    Container,
    /// A process on this machine only
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
/// When there is no Redis. The error names each place that was tried and the remedies.
pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    // Standard output is for the answer alone.
    report::leave_stdout_alone();
    let workspace = workspace::load()?;
    let run = Run::new();
    if args.start {
        return start(&workspace, args.choice.kind, &run);
    }
    if !args.hold {
        report::answer(find(&workspace, args.choice.kind, &run)?.to_json());
        return Ok(ExitCode::SUCCESS);
    }
    let holder = hold::Holder::start(&run);
    match find(&workspace, args.choice.kind, &run) {
        Ok(finding) => {
            report::answer(finding.to_json());
            holder.wait();
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            // The program at the other end of the pipe shows the reason to its user.
            report::answer(json!({ "error": why }));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Starts a server, prints its URL, and waits for the end of standard input.
fn start(workspace: &Metadata, kind: Kind, run: &Run) -> Result<ExitCode, String> {
    // Standard input may end while the search goes on.
    let holder = hold::Holder::start(run);
    let finding = find(workspace, kind, run)?;
    let port = match &finding.server {
        Server::Container { image, label, .. } => container::start(image, label, run)?,
        Server::Native { command, .. } => {
            let folder = workspace.target_directory.join("redis");
            StartedServer::start(command, folder.as_std_path(), &run.server)?
        }
    };
    report::answer(format_args!("redis://127.0.0.1:{port}"));
    if io::stdin().is_terminal() {
        say("redis: the server runs until standard input ends (Ctrl-D)");
    }
    holder.wait();
    Ok(ExitCode::SUCCESS)
}

/// One run of the finder. Its containers carry its id, so that they can be found and removed.
#[derive(Clone)]
struct Run {
    id: String,
    /// The engine that may have containers of this run.
    engine: Arc<OnceLock<Engine>>,
    /// The process that `--start` has started.
    server: Arc<Mutex<Option<StartedServer>>>,
}

impl Run {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: format!("{:x}-{}", now.as_nanos(), process::id()),
            engine: Arc::default(),
            server: Arc::default(),
        }
    }
}

/// The servers that a search has found.
struct Finding {
    server: Server,
    /// A server of the other kind, for the suite that tries both.
    other: Option<Server>,
}

impl Finding {
    fn taken(server: Server, other: Option<Server>) -> Self {
        say(format_args!("redis: using {server}"));
        Self { server, other }
    }

    fn to_json(&self) -> Value {
        self.server.to_json(self.other.as_ref())
    }
}

fn find(workspace: &Metadata, kind: Kind, run: &Run) -> Result<Finding, String> {
    let folder = workspace.target_directory.join("redis");
    let folder = folder.as_std_path();
    let mut refusals = Vec::new();

    if kind != Kind::Native {
        match container::find(folder, run) {
            Ok(server) => {
                // Nothing is downloaded for the other kind.
                let other = native::on_path().or_else(|_| debian::unpacked_before(folder)).ok();
                return Ok(Finding::taken(server, other));
            }
            Err(why) => refused(&mut refusals, "cannot use a container", &why),
        }
    }
    if kind != Kind::Container {
        match native::on_path() {
            Ok(server) => return Ok(Finding::taken(server, None)),
            Err(why) => refused(&mut refusals, "cannot use a server on the PATH", &why),
        }
        match debian::unpack(folder) {
            Ok(unpacked) => return Ok(Finding::taken(unpacked.server, None)),
            Err(why) => refused(&mut refusals, "cannot use Debian's packages", &why),
        }
    }
    Err(format!("there is no Redis: {}. {}", refusals.join("; "), remedies(kind)))
}

fn refused(refusals: &mut Vec<String>, what: &str, why: &str) {
    say(format_args!("redis: {what}: {why}"));
    // The line above shows the rest.
    refusals.push(format!("{what} ({})", why.lines().next().unwrap_or_default()));
}

fn remedies(kind: Kind) -> &'static str {
    match kind {
        Kind::Auto => {
            "Start a Docker engine (for Podman, or a socket elsewhere, set DOCKER_HOST), or install \
             redis-server or valkey-server 7 or later"
        }
        Kind::Container => {
            "Start a Docker engine (for Podman, or a socket elsewhere, set DOCKER_HOST), or use \
             `--redis native`"
        }
        Kind::Native => "Install redis-server or valkey-server 7 or later, or use `--redis container`",
    }
}
