//! The Redis of those suites of a run that need one: `cargo xtask redis`, once for all of them.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Choice, END, Kind};

/// The environment variable that tells programs how to start servers, as JSON.
pub(crate) const VARIABLE: &str = "FORGE_REDIS";

/// The Redis of one run, looked for when the first suite wants it.
pub(crate) struct Shared {
    choice: Choice,
    found: Option<Result<Finder, String>>,
}

impl Shared {
    pub(crate) fn new(choice: Choice) -> Self {
        Self { choice, found: None }
    }

    /// The kind of server that `--redis` chose.
    pub(crate) fn kind(&self) -> Kind {
        self.choice.kind
    }

    /// How to start servers, for a suite.
    ///
    /// # Errors
    ///
    /// When there is no Redis; for each suite that asks.
    pub(crate) fn for_suite(&mut self) -> Result<&str, String> {
        let found = self.found.get_or_insert_with(|| Finder::start(self.choice));
        found.as_ref().map(|finder| finder.answer.as_str()).map_err(Clone::clone)
    }
}

/// The finder as a process of its own. When this goes away, it removes the containers that are left; and
/// also when xtask is killed or interrupted, since that closes the pipe to its standard input.
struct Finder {
    child: Child,
    answer: String,
}

impl Finder {
    fn start(choice: Choice) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot start `cargo xtask redis`: {error}");
        let mut command = Command::new(env::current_exe().map_err(cannot)?);
        command.args(["redis", "--hold", "--redis", choice.kind.name()]);
        // Ctrl-C is for us; the finder has to clean up after it.
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
            return Err(told["error"].as_str().unwrap_or("`cargo xtask redis` told nothing").to_owned());
        }
        Ok(Self { child, answer: answer.trim().to_owned() })
    }
}

impl Drop for Finder {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            // Whoever ends without this word was killed.
            let _ = stdin.write_all(&[END]);
        }
        let _ = self.child.wait();
    }
}
