//! A Redis that is installed on this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use crate::command::capture_within;
use crate::redis::server::{Server, new_enough};

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// The program only prints its version.
const LIMIT: Duration = Duration::from_secs(10);

/// A server on the PATH that is new enough.
///
/// # Errors
///
/// With the reason why each program on the PATH cannot be used.
pub(crate) fn on_path() -> Result<Server, String> {
    let mut refusals = Vec::new();
    for program in PROGRAMS {
        let Some(path) = on_the_path(program) else { continue };
        let command = vec![path.to_string_lossy().into_owned()];
        match checked(command) {
            Ok(server) => return Ok(server),
            Err(why) => refusals.push(format!("{}: {why}", path.display())),
        }
    }
    let nothing = refusals.is_empty();
    Err(if nothing { format!("there is no {}", PROGRAMS.join(" and no ")) } else { refusals.join(", ") })
}

/// The server that a command starts, if it runs here and is new enough.
///
/// # Errors
///
/// When it does not run, or is too old.
pub(crate) fn checked(command: Vec<String>) -> Result<Server, String> {
    let (program, arguments) = command.split_first().ok_or("the command is empty")?;
    let mut ask = Command::new(program);
    ask.args(arguments).arg("--version").stdin(Stdio::null());
    let told = capture_within(&mut ask, LIMIT)?;
    let version = version(&told).ok_or_else(|| format!("its output `{}` has no version", told.trim()))?;
    new_enough(version)?;
    Ok(Server::Native { version: version.to_owned(), command })
}

/// `Redis server v=7.0.15 sha=…`, and the same with `Valkey`.
fn version(told: &str) -> Option<&str> {
    told.split_whitespace().find_map(|word| word.strip_prefix("v="))
}

fn on_the_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| {
        // Absolute, since servers are started from other folders.
        path.is_absolute() && fs::metadata(path).is_ok_and(|file| file.is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_say_their_version_alike() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1\n";
        assert_eq!(version(redis), Some("7.0.15"));
        assert_eq!(version("Valkey server v=8.1.1 sha=00000000:0\n"), Some("8.1.1"));
        assert_eq!(version("command not found"), None);
    }
}
