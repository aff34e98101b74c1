//! The Redis of the fleet: a server that `cargo xtask redis --start` runs, or one of yours.

use std::env;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Outcome;

/// A Redis server that stops with this process: `cargo xtask redis` notices the end of its standard input.
pub(super) struct StartedRedis {
    xtask: Child,
    url: String,
}

impl StartedRedis {
    /// Runs `cargo xtask redis --start`, which prints the server's URL.
    pub(super) async fn start() -> Outcome<Self> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["run", "--quiet", "--package", "xtask", "--", "redis", "--start"]);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            // These variables describe this package, and some build scripts watch them.
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        // Ctrl-C ends this process only; xtask then stops the server.
        #[cfg(unix)]
        command.process_group(0);
        let mut xtask = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = xtask.stdout.take().ok_or("`cargo xtask redis` has no standard output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let url =
            line.ok_or("`cargo xtask redis` started no Redis; give the URL of yours with --redis-url")?;
        Ok(Self { xtask, url })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Kills the server. Afterwards it refuses connections.
    pub(super) async fn stop(mut self) -> Outcome<()> {
        drop(self.xtask.stdin.take());
        self.xtask.wait().await?;
        Ok(())
    }
}
