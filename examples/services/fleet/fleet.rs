//! The processes of the fleet, and the orders to them.

use std::collections::HashSet;
use std::env;
use std::fmt;
use std::process::Stdio;

use forge_tests::AuthorizationServer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Outcome, TASKS, member};

pub(super) struct Fleet(Vec<Process>);

struct Process {
    /// Killed when this is dropped.
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// The results of all processes together.
pub(super) struct Report {
    pub(super) tokens: usize,
    pub(super) failures: usize,
    served: usize,
    longest: u64,
}

impl Fleet {
    /// Starts the processes and waits until they are ready.
    pub(super) async fn start(
        processes: usize,
        server: &AuthorizationServer,
        redis_url: &str,
    ) -> Outcome<Self> {
        // The prefix is new for each run, so that no process finds tokens of an earlier run.
        let prefix = format!("fleet-{}", std::process::id());
        let mut fleet = Vec::new();
        for _ in 0..processes {
            let mut child = Command::new(env::current_exe()?)
                .arg("--member")
                .env(member::TOKEN_URL, server.token_url())
                .env(member::CLIENT_ID, server.client_id())
                .env(member::CLIENT_SECRET, server.client_secret())
                .env(member::REDIS_URL, redis_url)
                .env(member::KEY_PREFIX, &prefix)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
                return Err("a process without pipes".into());
            };
            fleet.push(Process { _child: child, orders, answers: BufReader::new(answers).lines() });
        }
        for process in &mut fleet {
            process.answer().await?;
        }
        Ok(Self(fleet))
    }

    /// Gives all processes the same order at once.
    pub(super) async fn all(&mut self, order: &str) -> Outcome<Report> {
        for process in &mut self.0 {
            process.order(order).await?;
        }
        let mut tokens = HashSet::new();
        let mut report = Report { tokens: 0, failures: 0, served: 0, longest: 0 };
        for process in &mut self.0 {
            let answer = process.answer().await?;
            let mut words = answer.split(' ').filter(|word| !word.is_empty());
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
            let (Some(failures), Some(waited)) = (number(), number()) else {
                return Err(format!("a process said `{answer}`").into());
            };
            let failures = usize::try_from(failures)?;
            report.failures += failures;
            report.served += TASKS - failures;
            report.longest = report.longest.max(waited);
            tokens.extend(words.map(str::to_owned));
        }
        report.tokens = tokens.len();
        Ok(report)
    }

    /// Gives one process an order.
    pub(super) async fn one(&mut self, order: &str) -> Outcome<()> {
        let Some(process) = self.0.first_mut() else { return Ok(()) };
        process.order(order).await?;
        process.answer().await.map(|_| ())
    }
}

impl Process {
    async fn order(&mut self, order: &str) -> Outcome<()> {
        Ok(self.orders.write_all(format!("{order}\n").as_bytes()).await?)
    }

    async fn answer(&mut self) -> Outcome<String> {
        self.answers.next_line().await?.ok_or_else(|| "a process has ended".into())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, failures, served, longest } = self;
        write!(f, "{served} tasks served, {failures} not, {tokens} tokens, after {longest} ms at most")
    }
}
