//! Child processes that exchange lines with this process.

use std::env;
use std::io::{BufRead, BufReader, Error, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;

/// A child process. Dropping this ends it. Our own programs also end by themselves when this process is
/// gone, because their standard input ends.
pub(crate) struct Process {
    child: Child,
    ears: ChildStdin,
    mouth: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program once more.
    pub(crate) fn of_ourselves(words: &[&str]) -> Result<Self> {
        Self::start(Command::new(env::current_exe()?).args(words))
    }

    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            started.map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        let (Some(ears), Some(mouth)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a process without pipes".into());
        };
        Ok(Self { child, ears, mouth: BufReader::new(mouth) })
    }

    /// Sends a line to the process.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.ears, "{line}")?)
    }

    /// Reads the next line from the process.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.mouth.read_line(&mut line)? == 0 {
            return Err(Error::other(format!("a process ended early: {}", self.child.wait()?)).into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
