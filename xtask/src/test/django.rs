//! The authorization servers of some suites: tests/django, started for one run of one suite.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use cargo_metadata::Metadata;

use crate::command::{run as run_command, tail};
use crate::test::python;

/// The feature of the suites that need the servers.
pub(crate) const FEATURE: &str = "django";

/// All servers that run at once. They share nothing, so that each counts its own callers only.
const SERVERS: [Kind; 2] = [
    Kind { variable: "FORGE_DJANGO", folder: "usual", arguments: &[] },
    Kind {
        variable: "FORGE_DJANGO_SHORT_LIVED",
        folder: "short-lived",
        // Long enough for a slow machine, short enough for fifty lives in a minute.
        arguments: &["--access-token-seconds", "4"],
    },
];

struct Kind {
    /// The environment variable that tells the tests the server's address and credentials, as JSON.
    variable: &'static str,
    folder: &'static str,
    arguments: &'static [&'static str],
}

const START_LIMIT: Duration = Duration::from_secs(60);

const NOTHING: &str = "ended without printing its address";

/// Runs the tests of a suite while the servers are up.
///
/// # Errors
///
/// When a server does not start, or a test failed.
pub(crate) fn run(workspace: &Metadata, tests: &mut Command, suite: &str) -> Result<(), String> {
    let source = workspace.workspace_root.join("tests/django");
    let folder = workspace.target_directory.join("django");
    let requirements = source.join("requirements.txt");
    let python = python::environment(folder.as_std_path(), requirements.as_std_path(), suite)?;
    let data = folder.join(format!("run-{}", process::id())).into_std_path_buf();
    // An earlier process may have had the same id.
    if data.exists() {
        fs::remove_dir_all(&data).map_err(|error| cannot("empty the servers' folder", &error))?;
    }

    // All servers start before the wait for the first one.
    let mut servers = Vec::new();
    for kind in &SERVERS {
        let folder = data.join(kind.folder);
        servers.push(Server::start(&python, source.join("serve.py").as_std_path(), &folder, kind.arguments)?);
    }
    for (kind, server) in SERVERS.iter().zip(&mut servers) {
        tests.env(kind.variable, server.greeting()?);
    }
    run_command(tests).map_err(|error| format!("{error}; the servers' logs are in {}", data.display()))?;
    drop(servers);
    // The folder stays if a test failed. `cargo clean` removes what cannot be removed now.
    let _ = fs::remove_dir_all(&data);
    Ok(())
}

/// A server as a child process. It ends when this value is dropped. If xtask is killed, the pipe to the server's
/// standard input closes, and the server ends.
struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    log: PathBuf,
}

impl Server {
    fn start(python: &Path, script: &Path, data: &Path, arguments: &[&str]) -> Result<Self, String> {
        fs::create_dir_all(data).map_err(|error| cannot("create a server's folder", &error))?;
        let log = data.join("server.log");
        let stderr = fs::File::create(&log).map_err(|error| cannot("write a server's log", &error))?;
        let mut child = python::python_command(python)
            .arg(script)
            .arg("--data-dir")
            .arg(data)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| cannot("start a server", &error))?;
        Ok(Self { stdin: child.stdin.take(), stdout: child.stdout.take(), child, log })
    }

    /// The line of JSON that the server prints when it is ready.
    fn greeting(&mut self) -> Result<String, String> {
        self.stdout
            .take()
            .map_or(Err(NOTHING), first_line)
            .map_err(|why| format!("an authorization server {why}; its log ends with\n{}", tail(&self.log)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where `child` is only a launcher (a virtual environment on Windows), the pipe ends the server.
        self.stdin.take();
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cannot(what: &str, error: &std::io::Error) -> String {
    format!("cannot {what}: {error}")
}

/// The line of JSON, or the reason why there is none.
fn first_line(stdout: ChildStdout) -> Result<String, &'static str> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(stdout).read_line(&mut line).is_ok() {
            // The receiver is gone after a time-out.
            let _ = sender.send(line);
        }
    });
    match receiver.recv_timeout(START_LIMIT) {
        Ok(line) if line.starts_with('{') => Ok(line.trim().to_owned()),
        Err(RecvTimeoutError::Timeout) => Err("was not ready in time"),
        _ => Err(NOTHING),
    }
}
