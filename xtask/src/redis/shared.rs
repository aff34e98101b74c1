//! The Redis of a run: `cargo xtask redis`, once for all suites that need it.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Choice, END, Kind};

/// The environment variable that tells programs how to start servers, as JSON.
pub(crate) const VARIABLE: &str = "FORGE_REDIS";

/// The Redis of one run. The search begins when the first suite needs it.
pub(crate) struct SharedRedis {
    choice: Choice,
    found: Option<Result<Finder, String>>,
}

impl SharedRedis {
    pub(crate) fn new(choice: Choice) -> Self {
        Self { choice, found: None }
    }

    /// The kind of server that `--redis` chose.
    pub(crate) fn kind(&self) -> Kind {
        self.choice.kind
    }

    /// The JSON that tells a suite how to start servers.
    ///
    /// # Errors
    ///
    /// When there is no Redis; for each suite that asks.
    pub(crate) fn for_suite(&mut self) -> Result<&str, String> {
        let found = self.found.get_or_insert_with(|| Finder::start(self.choice));
        found.as_ref().map(|finder| finder.answer.as_str()).map_err(Clone::clone)
    }
}

/// The finder as a separate process. It removes the remaining containers when this value is dropped, and also when xtask
/// is killed, because that closes the pipe to its standard input.
struct Finder {
    child: Child,
    answer: String,
}

impl Finder {
    fn start(choice: Choice) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot start `cargo xtask redis`: {error}");
        let mut command = Command::new(env::current_exe().map_err(cannot)?);
        command.args(["redis", "--hold", "--redis", choice.kind.name()]);
        // Ctrl-C ends this process only; the finder then cleans up.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let mut answer = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut answer).map_err(cannot)?;
        }
        let told: Value = serde_json::from_str(&answer).unwrap_or_default();
        if told.get("kind").is_none() {
            let _ = child.wait();
            return Err(told["error"].as_str().unwrap_or("`cargo xtask redis` printed no answer").to_owned());
        }
        Ok(Self { child, answer: answer.trim().to_owned() })
    }
}

impl Drop for Finder {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            // Without this byte the finder assumes that this process was killed.
            let _ = stdin.write_all(&[END]);
        }
        let _ = self.child.wait();
    }
}
