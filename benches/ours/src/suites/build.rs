//! What building costs a user: this library, and reqwest alone with the same TLS.

mod cpu;
pub(crate) mod profile;
mod project;

use forge_bench_kit::{Line, progress};

use crate::{Pace, Result};
use project::{Built, Project};

const REQWEST: Project = Project {
    name: "reqwest",
    dependency: r#"reqwest = { version = "0.13", default-features = false, features = ["charset", "http2", "rustls", "system-proxy"] }"#,
    code: "use reqwest as _;",
};
const DEFAULT: Project = Project {
    name: "default",
    dependency: r#"requestforge = { path = "{root}" }"#,
    code: "use requestforge as _;",
};
const REDIS: Project = Project {
    name: "storage-redis",
    dependency: r#"requestforge = { path = "{root}", features = ["storage-redis"] }"#,
    code: "use requestforge as _;",
};

const DEFAULT_LINE: &str = "cold build, default features";
const DEFAULT_GOAL: &str = "≤ 1.3 ×";
const DEPENDENCIES_LINE: &str = "cold build, default features: all but our own crates";
const OWN_LINE: &str = "cold build, default features: our own crates";
const MORE_LINE: &str = "cold build, default features: what reqwest does not need";
const REDIS_LINE: &str = "cold build, with storage-redis";

pub(crate) fn run(pace: Pace) -> Result<()> {
    if pace == Pace::Quick {
        Line::full_run_only(DEFAULT_LINE, DEFAULT_GOAL).print();
        Line::full_run_only(REDIS_LINE, "").print();
        return Ok(());
    }
    let build = |project: &Project| {
        progress(format_args!("building {}", project.name));
        project.build()
    };
    let (reqwest, default, redis) = (build(&REQWEST)?, build(&DEFAULT)?, build(&REDIS)?);
    let ratio = default.seconds / reqwest.seconds;
    line(DEFAULT_LINE, &default, &reqwest).goal(DEFAULT_GOAL, ratio <= 1.3).print();
    explain(default, &reqwest);
    line(REDIS_LINE, &redis, &reqwest).print();
    Ok(())
}

/// What the default features' time goes to, beyond that of reqwest.
fn explain(mut default: Built, reqwest: &Built) {
    let ours = default.profile.take(|package| package == "requestforge" || package.starts_with("forge-"));
    let more = default.profile.take(|package| !reqwest.profile.has(package) && package != project::PACKAGE);
    let part = |name, seconds: f64| Line::new(name, seconds, UNIT).ratio(seconds / reqwest.seconds);
    part(DEPENDENCIES_LINE, default.seconds - ours.seconds()).anchor(anchor(reqwest)).print();
    part(OWN_LINE, ours.seconds()).note(ours.longest(usize::MAX)).print();
    part(MORE_LINE, more.seconds()).note(more.longest(16)).print();
}

fn line(name: &str, ours: &Built, reqwest: &Built) -> Line {
    Line::new(name, ours.seconds, UNIT)
        .anchor(anchor(reqwest))
        .ratio(ours.seconds / reqwest.seconds)
        .note(format!("{} crates; reqwest alone {}; the dev profile", ours.crates, reqwest.crates))
}

const UNIT: &str = "s of processor time";

fn anchor(reqwest: &Built) -> String {
    format!("reqwest alone {:.1} s", reqwest.seconds)
}
