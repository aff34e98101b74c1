//! The counters of a server.

use std::collections::BTreeMap;
use std::time::Duration;

use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Cmd, FromRedisValue, cmd};
use tokio::time::sleep;

use crate::connection::connection;

/// A server that reports its counters.
pub(crate) struct Counter {
    connection: MultiplexedConnection,
}

/// The work of a server since its start, or between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    commands: BTreeMap<String, u64>,
    /// Includes the commands that scripts call.
    all_commands: u64,
    pub(crate) refused: u64,
    pub(crate) connections: u64,
    /// The running time of the scripts, in microseconds.
    pub(crate) script_micros: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// Commands that only clients send: our scripts do not call them, and servers do not send them to each
/// other.
const SENT: [&str; 11] = [
    "asking",
    "client|setinfo",
    "cluster|info",
    "cluster|slots",
    "eval",
    "evalsha",
    "hello",
    "role",
    "script|load",
    "subscribe",
    TIME_SENT,
];
/// The TIME commands that no script called, if the counters can tell.
const TIME_SENT: &str = "time (sent)";
/// The work has ended when the server does nothing new for so long.
const QUIET: Duration = Duration::from_millis(120);

impl Counter {
    pub(crate) async fn of(url: &str) -> Self {
        Self { connection: connection(url).await }
    }

    /// The connections of clients, without this one and without those of other servers.
    pub(crate) async fn connected(&self) -> usize {
        let clients: String = self.run(cmd("CLIENT").arg("LIST")).await;
        let is_theirs = |line: &&str| {
            !line.contains("name=sentinel-") && !line.contains("flags=S") && !line.contains("flags=M")
        };
        clients.lines().filter(is_theirs).count() - 1
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.connection.clone()).await.expect("an answer")
    }

    /// The counters until now.
    pub(crate) async fn now(&self) -> Counts {
        Counts::read(&self.run::<String>(cmd("INFO").arg("all")).await)
    }

    /// The counters of this work, until it has ended. They leave out the cost of asking for them.
    pub(crate) async fn spent_on<T>(&self, what: impl Future<Output = T>) -> (Counts, T) {
        let calibration = self.now().await;
        let before = self.now().await;
        let mut question = before.clone().less(&calibration, 1);
        question.commands.retain(|name, _| name == "info");
        let done = what.await;
        let (mut after, mut questions) = (self.now().await, 1);
        loop {
            sleep(QUIET).await;
            let later = self.now().await;
            questions += 1;
            let is_over = later.sent() == after.sent() && later.connections == after.connections;
            after = later;
            if is_over {
                break;
            }
        }
        let mut spent = after.less(&before, 1);
        for _ in 0..questions {
            spent = spent.less(&question, 1);
        }
        (spent, done)
    }
}

impl Counts {
    /// The number of commands that clients sent.
    pub(crate) fn sent(&self) -> u64 {
        SENT.iter().map(|name| self.of(name)).sum()
    }

    /// The same, if all scripts only read: such a script calls TIME once.
    pub(crate) fn reading(mut self) -> Self {
        let sent = self.of("time").saturating_sub(self.of("evalsha"));
        self.commands.insert(TIME_SENT.to_owned(), sent);
        self
    }

    /// All commands, with those that scripts call, but without the pings that check connections.
    pub(crate) fn besides_beats(&self) -> u64 {
        self.all_commands.saturating_sub(self.of("ping"))
    }

    /// The number of commands of one kind, from clients and scripts.
    pub(crate) fn of(&self, command: &str) -> u64 {
        self.commands.get(command).copied().unwrap_or_default()
    }

    /// The kinds of commands that clients sent, at least so many of each.
    pub(crate) fn kinds(&self, each: u64) -> String {
        let kinds = SENT.iter().filter(|name| self.of(name) >= each);
        kinds
            .map(|name| format!("{} {}", self.of(name) / each, name.to_uppercase()))
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (name, calls) in &other.commands {
            *sum.commands.entry(name.clone()).or_default() += calls;
        }
        sum.all_commands += other.all_commands;
        sum.refused += other.refused;
        sum.connections += other.connections;
        sum.script_micros += other.script_micros;
        sum.bytes_in += other.bytes_in;
        sum.bytes_out += other.bytes_out;
        sum
    }

    pub(crate) fn less(mut self, other: &Self, times: u64) -> Self {
        for (name, calls) in &mut self.commands {
            *calls = calls.saturating_sub(other.of(name) * times);
        }
        self.commands.retain(|_, calls| *calls > 0);
        let less = |these: u64, those: u64| these.saturating_sub(those * times);
        Self {
            commands: self.commands,
            all_commands: less(self.all_commands, other.all_commands),
            refused: less(self.refused, other.refused),
            connections: less(self.connections, other.connections),
            script_micros: less(self.script_micros, other.script_micros),
            bytes_in: less(self.bytes_in, other.bytes_in),
            bytes_out: less(self.bytes_out, other.bytes_out),
        }
    }

    fn read(info: &str) -> Self {
        let mut counts = Self::default();
        for line in info.lines() {
            let Some((name, value)) = line.trim().split_once(':') else { continue };
            let number = || value.parse().unwrap_or_default();
            match name {
                "total_commands_processed" => counts.all_commands = number(),
                "total_error_replies" => counts.refused = number(),
                "total_connections_received" => counts.connections = number(),
                "total_net_input_bytes" => counts.bytes_in = number(),
                "total_net_output_bytes" => counts.bytes_out = number(),
                _ => {}
            }
            let Some(command) = name.strip_prefix("cmdstat_") else { continue };
            let field = |name| {
                let of = |part: &str| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
                value.split(',').find_map(of).unwrap_or_default()
            };
            counts.commands.insert(command.to_owned(), field("calls"));
            if command.starts_with("eval") {
                counts.script_micros += field("usec");
            }
        }
        counts
    }
}
