//! A Redis server as a process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io, process};

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process};

use crate::redis::setup::Setup;
use crate::redis::{Server, port};

/// Some ten milliseconds on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The watchdog. It waits for the end of its standard input, a pipe that ends with our process, and then
/// kills the server. While our process lives, the server's id stays its own, because only our process can
/// wait for it.
const WATCHDOG: &str = r#"read -r _; kill -9 "$1"; rm -r "$2""#;

pub(super) struct Native {
    command: Vec<String>,
    setup: Setup,
    /// The working folder of the server. The server writes to it if its arguments say so.
    folder: PathBuf,
    running: Option<Running>,
}

struct Running {
    server: Child,
    watchdog: Child,
}

impl Native {
    pub(super) async fn start(command: &[String], setup: Setup) -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("requestforge-redis-{}-{}", process::id(), setup.port));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        for (name, content) in &setup.files {
            fs::write(folder.join(name), content)?;
        }
        let mut native = Self { command: command.to_vec(), setup, folder, running: None };
        native.start_again().await?;
        Ok(native)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let running = self.running.as_ref().ok_or_else(|| io::Error::other("it does not run"))?;
        Ok(kill_process(Pid::from_child(&running.server), signal)?)
    }
}

#[async_trait]
impl Server for Native {
    fn is_container(&self) -> bool {
        false
    }

    async fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    async fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    async fn stop(&mut self) -> io::Result<()> {
        self.running.take();
        Ok(())
    }

    async fn start_again(&mut self) -> io::Result<()> {
        self.running.take();
        let log = self.folder.join("server.log");
        let (program, first) =
            self.command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        let mut command = Command::new(program);
        command.args(first).args(&self.setup.arguments).args(["--bind", "127.0.0.1"]);
        command.current_dir(&self.folder);
        let running = self.running.insert(Running::start(command, &log, &self.folder)?);
        let server = &mut running.server;
        let ended = || server.try_wait().is_ok_and(|status| status.is_some());
        let Setup { port, access, .. } = &self.setup;
        let answered = port::until_answered(*port, access, START_LIMIT, ended).await;
        answered.map_err(|error| io::Error::new(error.kind(), format!("{error}\n{}", tail(&log))))
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.running.take();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    fn start(mut command: Command, log: &Path, folder: &Path) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;

        // Only our process handles Ctrl-C. A paused server would not notice it, and the watchdog has to
        // outlive us.
        command.process_group(0);
        let said = File::create(log)?;
        command.stdin(Stdio::null()).stderr(said.try_clone()?).stdout(said);
        let mut server = command.spawn()?;
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "sh", &server.id().to_string()]).arg(folder);
        watchdog.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match watchdog.spawn() {
            Ok(watchdog) => Ok(Self { server, watchdog }),
            Err(error) => {
                end(&mut server);
                Err(error)
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This comes first, because after our wait the server's id may belong to another process.
        end(&mut self.watchdog);
        end(&mut self.server);
    }
}

/// Sends SIGKILL, which also ends stopped processes.
fn end(child: &mut Child) {
    // Both calls fail only if the server has already ended.
    let _ = child.kill();
    let _ = child.wait();
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
