use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::Value;

use super::cpu;
use super::profile::{self, Profile};
use crate::Result;

/// The package name of every project.
pub(super) const PACKAGE: &str = "cold-build";

/// A program with one dependency.
pub(super) struct Project {
    pub(super) name: &'static str,
    /// A line of its manifest; `{root}` is this repository.
    pub(super) dependency: &'static str,
    pub(super) code: &'static str,
}

/// The cost of a build.
pub(super) struct BuildOutcome {
    /// Seconds of processor time.
    pub(super) seconds: f64,
    pub(super) crates: usize,
    pub(super) profile: Profile,
}

impl Project {
    /// Builds the project from scratch, in the dev profile and with the versions of our lock file.
    pub(super) fn build(&self) -> Result<BuildOutcome> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let folder = self.write(&root)?;
        // Downloads the dependencies first, because downloading is not part of the build time.
        succeed(cargo(&folder).arg("fetch").stdout(Stdio::null()))?;
        let log = folder.join("compilers");
        let mut build = cargo(&folder);
        build.args(["build", "--message-format", "json"]).stdout(Stdio::piped());
        profile::watch(&mut build, &log)?;
        let before = cpu::of_children()?;
        let told = succeed(&mut build)?;
        let seconds = cpu::of_children()? - before;
        let profile = Profile::read(&log)?;
        // The folder is large and no longer needed.
        fs::remove_dir_all(&folder)?;
        Ok(BuildOutcome { seconds, crates: crates(&told), profile })
    }

    fn write(&self, root: &Path) -> Result<PathBuf> {
        let folder = root.join("target/bench/build").join(self.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("src"))?;
        let root_text = root.to_str().ok_or("the path of this repository is not UTF-8")?;
        let manifest = format!(
            "[package]\nname = \"{PACKAGE}\"\nedition = \"2024\"\n\n[dependencies]\n{}\n\n[workspace]\n",
            self.dependency.replace("{root}", root_text),
        );
        fs::write(folder.join("Cargo.toml"), manifest)?;
        fs::write(folder.join("src/main.rs"), format!("{}\n\nfn main() {{}}\n", self.code))?;
        fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        Ok(folder)
    }
}

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target")).env_remove("CARGO_MAKEFLAGS");
    // Cargo never compiles crates from a registry incrementally, and a user gets our crates from a registry.
    command.env("CARGO_INCREMENTAL", "0");
    command
}

/// Runs the command, and returns its standard output.
fn succeed(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("cargo ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The number of compiled packages, without the program itself.
fn crates(told: &str) -> usize {
    let built = told.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_artifact = message["reason"] == "compiler-artifact";
        is_artifact.then(|| message["package_id"].as_str().map(str::to_owned)).flatten()
    });
    built.collect::<BTreeSet<_>>().len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_a_build_script_counts_once_and_the_program_not() {
        let told = r#"
            {"reason":"compiler-artifact","package_id":"registry#ring@1","target":{"name":"build-script-build"}}
            {"reason":"build-script-executed","package_id":"registry#ring@1"}
            {"reason":"compiler-artifact","package_id":"registry#ring@1"}
            {"reason":"compiler-artifact","package_id":"registry#url@2"}
            {"reason":"compiler-artifact","package_id":"path#cold-build@0.0.0"}
            {"reason":"build-finished","success":true}
            not JSON"#;
        assert_eq!(crates(told), 2);
    }
}
