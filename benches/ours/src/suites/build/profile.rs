//! The build time of each crate. Cargo starts this program instead of rustc. This program starts rustc and
//! records its time.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use forge_bench_kit::median;

use super::cpu;
use crate::Result;

/// The environment variable with the file that records the compilers' times. It is set for the programs that
/// cargo starts instead of rustc.
pub(crate) const LOG: &str = "FORGE_BENCH_COMPILER_LOG";

/// Makes cargo start this program for each run of the compiler.
pub(super) fn watch(cargo: &mut Command, log: &Path) -> Result<()> {
    // Truncates the records of an earlier build.
    File::create(log)?;
    cargo.env("RUSTC_WRAPPER", env::current_exe()?).env(LOG, log);
    Ok(())
}

/// Starts the compiler as cargo would, and records its time.
pub(crate) fn stand_in(log: OsString) -> Result<ExitCode> {
    let mut words = env::args_os().skip(1);
    let compiler = words.next().ok_or("there is no compiler to stand in for")?;
    let status = Command::new(compiler).args(words).status()?;
    if let Ok(package) = env::var("CARGO_PKG_NAME") {
        // One write per line, because several processes write.
        let line = format!("{package} {}\n", cpu::of_children()?);
        File::options().append(true).open(log)?.write_all(line.as_bytes())?;
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The compiler's seconds for each package.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Profile(BTreeMap<String, f64>);

impl Profile {
    pub(super) fn read(log: &Path) -> Result<Self> {
        Self::of(&fs::read_to_string(log)?)
    }

    fn of(log: &str) -> Result<Self> {
        let mut packages = BTreeMap::new();
        for line in log.lines() {
            let (package, seconds) = line.split_once(' ').ok_or("a line without a time")?;
            *packages.entry(package.to_owned()).or_insert(0.0) += seconds.parse::<f64>()?;
        }
        Ok(Self(packages))
    }

    /// The packages for which this is true.
    pub(super) fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted = self.0.iter().filter(|(package, _)| is_wanted(package));
        Self(wanted.map(|(package, seconds)| (package.clone(), *seconds)).collect())
    }

    /// The median of each package.
    pub(super) fn medians(profiles: &[Self]) -> Self {
        let packages = profiles.iter().flat_map(|profile| profile.0.keys());
        let of = |package: &String| -> Vec<f64> {
            profiles.iter().filter_map(|profile| profile.0.get(package).copied()).collect()
        };
        Self(packages.map(|package| (package.clone(), median(&of(package)))).collect())
    }

    pub(super) fn has(&self, package: &str) -> bool {
        self.0.contains_key(package)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.0.values().sum()
    }

    /// The slowest packages, in descending order.
    pub(super) fn longest(&self, count: usize) -> String {
        let mut packages: Vec<_> = self.0.iter().collect();
        packages.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let (longest, others) = packages.split_at(count.min(packages.len()));
        let rest: f64 = others.iter().map(|(_, seconds)| **seconds).sum();
        let rest = (!others.is_empty()).then(|| format!("{} others {rest:.1}", others.len()));
        let longest = longest.iter().map(|(package, seconds)| format!("{package} {seconds:.1}"));
        longest.chain(rest).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile::of("ring 1.5\nurl 0.25\nring 2\nforge-core 0.5\n").unwrap()
    }

    #[test]
    fn what_a_package_takes_is_added_up() {
        assert!(profile().has("ring") && !profile().has("rin"));
        assert!((profile().seconds() - 4.25).abs() < 1e-9);
        assert_eq!(profile().longest(3), "ring 3.5, forge-core 0.5, url 0.2");
        assert_eq!(profile().longest(1), "ring 3.5, 2 others 0.8");
        assert!(Profile::of("ring").is_err() && Profile::of("ring x").is_err());
    }

    #[test]
    fn some_packages_are_looked_at_alone() {
        let ours = profile().only(|package| package.starts_with("forge-"));
        assert_eq!(ours, Profile::of("forge-core 0.5").unwrap());
    }

    #[test]
    fn of_several_builds_the_one_in_the_middle_counts() {
        let builds = ["ring 1", "ring 9\nurl 2", "ring 3\nurl 4"].map(|log| Profile::of(log).unwrap());
        assert_eq!(Profile::medians(&builds), Profile::of("ring 3\nurl 3").unwrap());
    }
}
