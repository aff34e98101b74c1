//! A server that `cargo xtask redis --start` runs as a process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::ping;
use crate::command::tail;

/// A server answers after some ten milliseconds, later on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Another program may take a port between our look at it and the start of the server.
const MAX_STARTS: usize = 5;

/// Kills the server when xtask has ended without doing so: then this program's standard input ends.
#[cfg(unix)]
const WATCHDOG: &str = r#"read -r _; kill -9 "$1""#;

/// A server on a port of this machine. Dropping it kills the server.
pub(crate) struct StartedServer {
    server: Child,
    #[cfg(unix)]
    watchdog: Child,
    log: PathBuf,
}

impl StartedServer {
    /// Starts a server and puts it into `slot`; returns its port when it answers.
    ///
    /// # Errors
    ///
    /// When the server does not start, with the end of its log.
    pub(crate) fn start(
        command: &[String],
        folder: &Path,
        slot: &Mutex<Option<Self>>,
    ) -> Result<u16, String> {
        fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let log = folder.join(format!("started-{}.log", process::id()));
        let mut failure = String::new();
        for _ in 0..MAX_STARTS {
            let port = free_port().map_err(|error| format!("there is no free port: {error}"))?;
            let mut started = lock(slot);
            *started = Some(Self::spawn(command, port, &log)?);
            // Released before the wait, so that the end of standard input stops the server at any time.
            drop(started);
            let has_ended = || lock(slot).as_mut().is_none_or(Self::has_ended);
            match ping::version(port, START_LIMIT, has_ended) {
                Ok(_) => return Ok(port),
                Err(why) => failure = format!("{why}\n{}", tail(&log)),
            }
        }
        Err(format!("the Redis server did not start: {failure}"))
    }

    fn spawn(command: &[String], port: u16, log: &Path) -> Result<Self, String> {
        let (program, first) = command.split_first().ok_or("the command is empty")?;
        let cannot = |error| format!("cannot start {program}: {error}");
        let output = File::create(log).map_err(cannot)?;
        let mut command = Command::new(program);
        command.args(first).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        // Ctrl-C ends xtask only; the watchdog then kills the server.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null()).stderr(output.try_clone().map_err(cannot)?).stdout(output);
        let mut server = command.spawn().map_err(cannot)?;
        #[cfg(unix)]
        let watchdog = watch(&server).inspect_err(|_| end(&mut server)).map_err(cannot)?;
        Ok(Self {
            server,
            #[cfg(unix)]
            watchdog,
            log: log.to_owned(),
        })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.server.try_wait(), Ok(None))
    }
}

impl Drop for StartedServer {
    fn drop(&mut self) {
        // First: when we have waited for the server, its process id may become that of another program.
        #[cfg(unix)]
        end(&mut self.watchdog);
        end(&mut self.server);
        let _ = fs::remove_file(&self.log);
    }
}

#[cfg(unix)]
fn watch(server: &Child) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;

    let mut watchdog = Command::new("sh");
    watchdog.args(["-c", WATCHDOG, "sh", &server.id().to_string()]).process_group(0);
    watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn end(child: &mut Child) {
    // Both fail only if the process has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn lock<T>(slot: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
