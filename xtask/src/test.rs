//! `cargo xtask test`: every test of the workspace.

mod django;
mod interop;
mod python;
mod stages;

use std::process::{Command, ExitCode};
use std::time::Instant;

use cargo_metadata::Metadata;

use crate::command::{cargo, run as run_command};
use crate::redis;
use crate::report::{duration, heading, say};
use crate::workspace;
use stages::Stage;

/// The features of the suites that need a Redis.
const NEED_REDIS: [&str; 2] = ["fleet", "redis"];

/// Run all tests: unit tests, doctests and the integration suites.
///
/// All features are on, except for the TLS stacks that cannot be combined with the default one. Every stage runs, even
/// after one has failed. The last line shows the result.
///
/// Suites that `--list` marks with `python` need Python 3.10 or later: python3, or the program that the environment
/// variable PYTHON names. They install the packages of their servers below target/.
///
/// Suites that `--list` marks with `redis` need a Redis: a container engine, a redis-server or valkey-server 7 or later,
/// or Debian's packages, which the command unpacks below target/. `cargo xtask redis` shows which of them the suites
/// would get, and `--redis` chooses.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this suite only; may be given several times
    #[arg(long = "suite", value_name = "NAME")]
    suites: Vec<String>,

    /// Leave this suite out; may be given several times
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,

    #[command(flatten)]
    redis: redis::Choice,

    /// Also run the soak tests (sets `FORGE_TEST_LONG=1` for the tests)
    #[arg(long)]
    long: bool,

    /// List the suites and stop
    #[arg(long)]
    list: bool,
}

/// Runs the stages that `args` select.
///
/// # Errors
///
/// When no test could be started. A failed test only changes the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    let workspace = workspace::load()?;
    let stages = stages::all(&workspace)?;
    if args.list {
        for stage in &stages {
            let needs = needs(stage);
            say(format_args!("{:16} {needs:13} {}", stage.name, stage.about).to_string().trim_end());
        }
        return Ok(ExitCode::SUCCESS);
    }

    let selection = stages::select(&stages, &args.suites, &args.without)?;
    let start = Instant::now();
    let mut failures = Vec::new();
    let mut redis = redis::SharedRedis::new(args.redis);
    for (index, stage) in selection.run.iter().enumerate() {
        let stage_start = Instant::now();
        heading(index + 1, selection.run.len(), &stage.title());
        match run_stage(&workspace, stage, args.long, &mut redis) {
            Ok(()) => say(format_args!("-- {} passed in {}", stage.name, duration(stage_start.elapsed()))),
            Err(error) => {
                say(format_args!("-- {} FAILED: {error}", stage.name));
                failures.push((stage.name.as_str(), error));
            }
        }
    }
    // Removes the containers that a killed test has left, before the last line.
    drop(redis);

    say("");
    for (name, error) in &failures {
        // The stage above shows the rest.
        say(format_args!("{name}: {}", error.lines().next().unwrap_or_default()));
    }
    if !selection.left_out.is_empty() {
        say(format_args!("left out: {}", stages::names(&selection.left_out)));
    }
    if failures.is_empty() {
        let which = if selection.left_out.is_empty() { "all" } else { "all selected" };
        let names = stages::names(&selection.run);
        say(format_args!("{which} suites passed: {names} in {}", duration(start.elapsed())));
        Ok(ExitCode::SUCCESS)
    } else {
        let names: Vec<&str> = failures.iter().map(|(name, _)| *name).collect();
        say(format_args!("FAILED: {}", names.join(", ")));
        Ok(ExitCode::FAILURE)
    }
}

/// The programs that a stage needs, as `--list` shows them.
fn needs(stage: &Stage) -> String {
    let python = stage.requires(&[django::FEATURE]) || stage.name == interop::SUITE;
    let redis = stage.requires(&NEED_REDIS);
    let needs = [python.then_some("python"), redis.then_some("redis")];
    needs.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn run_stage(
    workspace: &Metadata,
    stage: &Stage,
    long: bool,
    redis: &mut redis::SharedRedis,
) -> Result<(), String> {
    let mut command = cargo_test(workspace, stage);
    if long {
        // Also shows what the soak tests measured.
        command.env("FORGE_TEST_LONG", "1").args(["--", "--show-output"]);
    }
    let name = stage.name.as_str();
    if stage.requires(&NEED_REDIS) {
        let leave_out = |why| format!("{why}. To leave this suite out, use `--without {name}`");
        command.env(redis::VARIABLE, redis.for_suite().map_err(leave_out)?);
        // For the example `fleet`, which runs `cargo xtask redis` itself.
        command.env(redis::KIND_VARIABLE, redis.kind().name());
    }
    if name == interop::SUITE {
        command.env(interop::VARIABLE, interop::python(workspace)?);
    }
    if stage.requires(&[django::FEATURE]) {
        return django::run(workspace, &mut command, name);
    }
    run_command(&mut command)
}

/// Every stage selects the whole workspace and the same features, and only picks other targets. With `-p`, cargo would
/// unify features anew and build the dependencies a second time.
fn cargo_test(workspace: &Metadata, stage: &Stage) -> Command {
    let mut command = cargo(&workspace.workspace_root);
    command.args(["test", "--workspace", "--no-fail-fast"]);
    let features = workspace::all_features(workspace);
    if !features.is_empty() {
        command.args(["--features", &features]);
    }
    command.args(&stage.targets);
    command
}
