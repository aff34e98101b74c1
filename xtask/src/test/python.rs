//! Finds a Python and gives it a virtual environment with pinned packages.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{capture, run_quietly};

/// The version that the pinned packages need.
const MINIMUM: (u32, u32) = (3, 10);

const VENV_LIMIT: Duration = Duration::from_secs(120);
/// An installation usually takes some seconds. A slow mirror may need more; a dead one must not hold up the tests.
const PIP_LIMIT: Duration = Duration::from_secs(300);

/// The Python of a virtual environment below `folder` that has exactly the packages in the file
/// `requirements`, for `suite`. It reuses the environment of an earlier run as long as that has the same
/// packages.
///
/// # Errors
///
/// With the program that this machine lacks, and the remedy.
pub(crate) fn environment(folder: &Path, requirements: &Path, suite: &str) -> Result<PathBuf, String> {
    let (base, version) = find(suite)?;
    let wanted = fs::read_to_string(requirements)
        .map_err(|error| format!("cannot read {}: {error}", requirements.display()))?;
    let wanted = format!("{} is {version}\n{wanted}", base.to_string_lossy());

    let venv = folder.join("venv");
    let stamp = venv.join("built-from.txt");
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // The packages may still exist after their Python was removed.
    let runs = || capture(python_command(&python).args(["-c", ""])).is_ok();
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && runs() {
        return Ok(python);
    }

    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    let mut create = python_command(&base);
    create.args(["-m", "venv", "--clear"]).arg(&venv);
    run_quietly(&mut create, VENV_LIMIT, &folder.join("venv.log")).map_err(|error| no_venv(error, suite))?;

    let mut install = python_command(&python);
    install.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    install.arg("--requirement").arg(requirements);
    run_quietly(&mut install, PIP_LIMIT, &folder.join("pip.log"))?;

    // Crash: written last, so that an interrupted installation is not taken for a complete one.
    fs::write(&stamp, wanted).map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
    Ok(python)
}

/// A command for a Python that sees no packages but its own.
pub(crate) fn python_command(python: impl Into<OsString>) -> Command {
    let mut command = Command::new(python.into());
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}

/// A Python that is new enough, and its version.
fn find(suite: &str) -> Result<(OsString, String), String> {
    let candidates = match env::var_os("PYTHON") {
        // A Python that PYTHON names is the only candidate.
        Some(named) if !named.is_empty() => vec![named],
        _ => vec!["python3".into(), "python".into()],
    };
    let mut found = Vec::new();
    for candidate in candidates {
        let name = candidate.to_string_lossy().into_owned();
        let ask = "import platform; print(platform.python_version())";
        match capture(python_command(&candidate).args(["-c", ask])) {
            Ok(version) if is_new_enough(&version) => return Ok((candidate, version.trim().into())),
            Ok(version) => found.push(format!("{name} is {}", version.trim())),
            Err(_) => found.push(format!("{name} does not run")),
        }
    }
    Err(format!(
        "this suite needs Python {}.{} or later: {}. Install it, name it in the environment variable PYTHON, or leave \
         this suite out with `--without {suite}`",
        MINIMUM.0,
        MINIMUM.1,
        found.join(", "),
    ))
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim().split('.').map_while(|part| part.parse().ok());
    parts.next().zip(parts.next()).is_some_and(|found: (u32, u32)| found >= MINIMUM)
}

/// Adds the remedy to the error if the distribution has removed `venv` from its Python.
fn no_venv(error: String, suite: &str) -> String {
    if error.contains("ensurepip") || error.contains("No module named venv") {
        format!(
            "this Python cannot create virtual environments. On Debian and Ubuntu install the package python3-venv, \
             or leave this suite out with `--without {suite}`\n{error}"
        )
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for new in ["3.10.0\n", "3.11.7", "3.14.0rc2", "4.0.0"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["3.9.18", "2.7.18\n", "3", ""] {
            assert!(!is_new_enough(old), "{old}");
        }
    }

    #[test]
    fn a_missing_venv_module_has_its_sentence() {
        let debian = "The virtual environment was not created because ensurepip is not available.";
        assert!(no_venv(debian.into(), "fleet").contains("--without fleet"));
        assert_eq!(no_venv("no space left".into(), "fleet"), "no space left");
    }
}
