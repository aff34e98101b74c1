//! `cargo xtask bench`: measures `requestforge` beside other libraries and beside the limits of the machine.

mod callgrind;
mod html;
mod machine;
mod programs;
mod report;
mod suites;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cargo_metadata::Metadata;

use crate::redis;
use crate::report::{duration, heading, say};
use crate::workspace;
use programs::Programs;
use report::{Message, Report};
use suites::Suite;

/// Measure requestforge, other libraries and the limits of the machine, in one run.
///
/// The command prints a table with each figure, the figures to compare it with, and whether its goal is met. It writes
/// the same to `target/bench/report.json`, and a page with plots to `target/bench/index.html`. The command fails if a
/// server, a peer or a suite does not work. It does not fail if a goal is missed.
///
/// benches/README.md describes the method. Instructions are counted if valgrind is installed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run fewer rounds and leave the slow cases out: at most 3 minutes after the build
    #[arg(long)]
    quick: bool,

    /// Run this suite only; may be given several times
    #[arg(long = "suite", value_name = "NAME")]
    suites: Vec<String>,

    /// Also write the report to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    redis: redis::Choice,

    /// List the suites and stop
    #[arg(long)]
    list: bool,
}

/// Builds the bench programs, runs the suites that `args` select, and reports.
///
/// # Errors
///
/// When a suite could not measure.
pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    if args.list {
        for suite in &suites::ALL {
            say(format_args!("{:12} {}", suite.name, suite.about));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = workspace::load()?;
    let selected = suites::select(&args.suites)?;
    let files = Files::prepare(&workspace, args.json.as_deref())?;
    let programs = Programs::build(&workspace, &selected)?;

    let start = Instant::now();
    let mut report = Report::new(machine::describe(), machine::today(), machine::commit(&workspace));
    let measured = run_suites(args, &workspace, &programs, &selected, &mut report);
    // If a suite failed, the report still has what was measured before.
    if !report.lines.is_empty() {
        files.write(&report)?;
        say(format_args!("measured in {}", duration(start.elapsed())));
        say(table::verdict(&report.lines));
    }
    measured.map(|()| ExitCode::SUCCESS)
}

fn run_suites(
    args: &Args,
    workspace: &Metadata,
    programs: &Programs,
    selected: &[&Suite],
    report: &mut Report,
) -> Result<(), String> {
    let mut redis = redis::SharedRedis::new(args.redis);
    for (index, suite) in selected.iter().enumerate() {
        heading(index + 1, selected.len(), &format!("{}: {}", suite.name, suite.about));
        let suite_start = Instant::now();
        let failed = |error| format!("suite {}: {error}", suite.name);
        run_suite(workspace, programs, suite, args.quick, &mut redis, report).map_err(failed)?;
        table::print(&report.of_suite(suite.name));
        say(format_args!("-- {} in {}", suite.name, duration(suite_start.elapsed())));
    }
    Ok(())
}

fn run_suite(
    workspace: &Metadata,
    programs: &Programs,
    suite: &Suite,
    quick: bool,
    redis: &mut redis::SharedRedis,
    report: &mut Report,
) -> Result<(), String> {
    let mut command = programs.command(suite.program);
    command.arg(suite.name);
    if quick {
        command.arg("--quick");
    }
    if suite.needs_redis {
        command.env(redis::VARIABLE, redis.for_suite()?);
    }
    let limit = Duration::from_secs(if quick { 120 } else { 3600 });
    let printed = crate::command::listen_within(&mut command, limit)?;
    let mut lines = 0;
    for message in printed.lines() {
        match Message::read(message)? {
            Message::Line(line) => report.add(suite.name, line),
            Message::Plot(plot) => {
                report.plots.push(plot);
                continue;
            }
            Message::Count(count) => {
                let folder = workspace.target_directory.join("bench");
                let line = callgrind::line(&count, programs, suite.program, folder.as_std_path())?;
                report.add(suite.name, line);
            }
        }
        lines += 1;
    }
    if lines == 0 { Err("the program printed no figure".to_owned()) } else { Ok(()) }
}

/// The files of the report.
struct Files {
    reports: Vec<PathBuf>,
    page: PathBuf,
}

impl Files {
    /// Fails before the first suite if a file cannot be written, and removes the report of an earlier run.
    fn prepare(workspace: &Metadata, copy: Option<&Path>) -> Result<Self, String> {
        let folder = workspace.target_directory.join("bench").into_std_path_buf();
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let (report, page) = (folder.join("report.json"), folder.join("index.html"));
        for file in [&report, &page] {
            put(file, "")?;
            fs::remove_file(file).map_err(|error| format!("cannot remove {}: {error}", file.display()))?;
        }
        // Emptied and not removed, because the path may be a link, a pipe or a device.
        copy.map_or(Ok(()), |copy| put(copy, ""))?;
        Ok(Self { reports: [Some(report), copy.map(Path::to_owned)].into_iter().flatten().collect(), page })
    }

    fn write(&self, report: &Report) -> Result<(), String> {
        let json = report.to_json();
        say("");
        for file in &self.reports {
            put(file, &json)?;
            say(format_args!("report: {}", file.display()));
        }
        put(&self.page, &html::page(report))?;
        say(format_args!("page: {}", self.page.display()));
        Ok(())
    }
}

fn put(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}
