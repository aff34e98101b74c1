//! A process of the fleet, as its test sees it.

use std::process::Stdio;

use forge_tests::fleet::{Order, Report};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

pub(crate) struct Process {
    id: Pid,
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    /// The process ends when this value is dropped.
    child: Mutex<Child>,
}

impl Process {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-member"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // In a group of its own: then the system ends a stopped process when this test is killed.
        command.process_group(0);
        let mut child = command.spawn().expect("a process");
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("an id");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = child.stdout.take().expect("a pipe");
        let pipes = Mutex::new((stdin, BufReader::new(stdout).lines()));
        Self { id, pipes, child: Mutex::new(child) }
    }

    /// The report of the process; `None`: the test killed it.
    pub(crate) async fn told(&self, order: &Order) -> Option<Report> {
        let mut line = serde_json::to_vec(order).expect("JSON");
        line.push(b'\n');
        let mut pipes = self.pipes.lock().await;
        pipes.0.write_all(&line).await.ok()?;
        let report = pipes.1.next_line().await.ok()??;
        Some(serde_json::from_str(&report).expect("a report"))
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub(crate) async fn kill(&self) {
        self.child.lock().await.kill().await.expect("killed");
    }

    /// SIGSTOP.
    pub(crate) fn stop(&self) {
        kill_process(self.id, Signal::STOP).expect("stopped");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        kill_process(self.id, Signal::CONT).expect("resumed");
    }
}
