//! `cargo xtask bench`: how fast it is, beside other libraries and beside what the machine can do.

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

/// Measure: ours, other libraries and the machine's own limits, in one run.
///
/// Prints a table with each figure, what it stands beside, and whether its goal is met; writes the same as
/// `target/bench/report.json`, and as a page with drawings to `target/bench/index.html`. A goal that is not met is
/// no failure; a server, a peer or a suite that does not work is.
///
/// The method is in ARCHITECTURE.md, section "Speed". Instructions are counted where valgrind is installed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds, and without what takes minutes: at most 3 minutes after the build
    #[arg(long)]
    quick: bool,

    /// Run this suite only; may be given several times
    #[arg(long = "suite", value_name = "NAME")]
    suites: Vec<String>,

    /// Write the report there, too
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
/// When anything could not be measured.
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
    // Also what was measured before something did not work.
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
    let mut redis = redis::Shared::new(args.redis);
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
    redis: &mut redis::Shared,
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
    if lines == 0 { Err("it measured nothing".to_owned()) } else { Ok(()) }
}

/// Where the report goes.
struct Files {
    reports: Vec<PathBuf>,
    page: PathBuf,
}

impl Files {
    /// Says now what cannot be written, and takes away what would look like the report of this run.
    fn prepare(workspace: &Metadata, copy: Option<&Path>) -> Result<Self, String> {
        let folder = workspace.target_directory.join("bench").into_std_path_buf();
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let (report, page) = (folder.join("report.json"), folder.join("index.html"));
        for file in [&report, &page] {
            put(file, "")?;
            fs::remove_file(file).map_err(|error| format!("cannot remove {}: {error}", file.display()))?;
        }
        // Only emptied: it may be a link, a pipe or a device, which is not ours to take away.
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
