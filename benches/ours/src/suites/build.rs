//! The build time of this library, and of reqwest alone with the same TLS.

mod cpu;
pub(crate) mod profile;
mod project;

use forge_bench_kit::{Line, median, paired_ratio, progress, quartiles};

use crate::{Pace, Result};
use profile::Profile;
use project::{BuildOutcome, Project};

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
    let (mut reqwest, mut default, mut redis) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        progress(format_args!("round {round} of {ROUNDS}"));
        for (project, built) in [(REQWEST, &mut reqwest), (DEFAULT, &mut default), (REDIS, &mut redis)] {
            progress(format_args!("building {}", project.name));
            built.push(project.build()?);
        }
    }
    let (line, ratio) = line(DEFAULT_LINE, &default, &reqwest);
    line.goal(DEFAULT_GOAL, ratio <= 1.3).print();
    explain(&default, &reqwest);
    self::line(REDIS_LINE, &redis, &reqwest).0.print();
    Ok(())
}

/// The rounds alternate between the projects, so that other load on the machine affects all of them.
const ROUNDS: usize = 3;

fn line(name: &str, ours: &[BuildOutcome], reqwest: &[BuildOutcome]) -> (Line, f64) {
    let ratio = paired_ratio(&seconds(ours), &seconds(reqwest));
    let crates = |built: &[BuildOutcome]| built.first().map_or(0, |built| built.crates);
    let line = Line::new(name, median(&seconds(ours)), UNIT)
        .anchor(format!("reqwest alone {:.1} s", median(&seconds(reqwest))))
        .ratio(ratio)
        .spread(quartiles(&seconds(ours)))
        .note(format!("{} crates; reqwest alone {}; the dev profile", crates(ours), crates(reqwest)));
    (line, ratio)
}

/// Prints the shares of our crates and of other packages in the build time of the default features.
fn explain(default: &[BuildOutcome], reqwest: &[BuildOutcome]) {
    let is_ours = |package: &str| package == "requestforge" || package.starts_with("forge-");
    let is_more = |package: &str| {
        let is_of_reqwest = reqwest.iter().any(|built| built.profile.has(package));
        !is_of_reqwest && !is_ours(package) && package != project::PACKAGE
    };
    let ours: Vec<Profile> = default.iter().map(|built| built.profile.only(is_ours)).collect();
    let more: Vec<Profile> = default.iter().map(|built| built.profile.only(is_more)).collect();
    let of = |profiles: &[Profile]| profiles.iter().map(Profile::seconds).collect::<Vec<_>>();
    let all_else: Vec<f64> = seconds(default).iter().zip(of(&ours)).map(|(all, ours)| all - ours).collect();
    let part = |name, part: &[f64], note: String| {
        let ratio = paired_ratio(part, &seconds(reqwest));
        Line::new(name, median(part), UNIT).ratio(ratio).note(note).print();
    };
    part(DEPENDENCIES_LINE, &all_else, "what building the dependencies alone takes".to_owned());
    part(OWN_LINE, &of(&ours), Profile::medians(&ours).longest(usize::MAX));
    part(MORE_LINE, &of(&more), Profile::medians(&more).longest(16));
}

fn seconds(built: &[BuildOutcome]) -> Vec<f64> {
    built.iter().map(|built| built.seconds).collect()
}

const UNIT: &str = "s of processor time";
