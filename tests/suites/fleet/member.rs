//! A fleet: its members are alike, except for what a test changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Failure, Order, Outcome, Report, Request, Settings, State, Work, now};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::process::Process;
use crate::redis::{PREFIX, Redis};

/// Time for an order to reach all members, so that they begin together.
const HEADSTART: Duration = Duration::from_millis(30);

pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
}

#[derive(Clone)]
pub(crate) struct Member {
    settings: Settings,
    process: Arc<Process>,
}

/// The settings of a member by default: client credentials, and the default lease.
pub(crate) fn settings(server: &AuthorizationServer, redis: &Redis) -> Settings {
    Settings {
        token_url: server.token_url(),
        client_id: server.client_id().to_owned(),
        client_secret: server.client_secret().to_owned(),
        user: None,
        steps: false,
        mark: String::new(),
        redis: redis.topology(),
        prefix: PREFIX.to_owned(),
        lease: Duration::from_secs(5),
        clock_ahead: 0,
    }
}

impl Fleet {
    /// Starts so many processes. Each has its number as its `User-Agent`.
    pub(crate) async fn start(size: usize, settings: &Settings) -> Self {
        Self::start_with(size, |_| settings.clone()).await
    }

    /// Starts so many processes with settings of their own.
    pub(crate) async fn start_with(size: usize, mut settings: impl FnMut(usize) -> Settings) -> Self {
        let mut members = Vec::new();
        for number in 0..size {
            members.push(Member::start(Settings { mark: number.to_string(), ..settings(number) }).await);
        }
        Self { members }
    }

    /// Sends all members an order, and waits for all reports. `None`: the test killed the process meanwhile.
    pub(crate) async fn told(&self, order: &Order) -> Vec<Option<Report>> {
        let told: Vec<_> = self.members.iter().map(|member| member.begin(order.clone())).collect();
        let mut reports = Vec::new();
        for report in told {
            reports.push(report.await.expect("no panic"));
        }
        reports
    }

    /// Like `told`, with one piece of work that begins everywhere at the same moment.
    pub(crate) async fn all(&self, what: Request, key: &str, tasks: usize) -> Vec<Outcome> {
        let mut all = Vec::new();
        for report in self.told(&together(what, key, tasks)).await {
            all.push(the_outcome(report).expect("an outcome"));
        }
        all
    }

    /// Begins one piece of work in each member. The caller awaits it later.
    pub(crate) fn begin(&self, what: Request, key: &str, tasks: usize) -> Vec<JoinHandle<Option<Outcome>>> {
        let order = together(what, key, tasks);
        let begin = |member: &Member| {
            let report = member.begin(order.clone());
            tokio::spawn(async move { the_outcome(report.await.expect("no panic")) })
        };
        self.members.iter().map(begin).collect()
    }

    /// Kills one member and starts another one in its place.
    pub(crate) async fn replace(&mut self, number: usize) {
        let member = &mut self.members[number];
        member.process.kill().await;
        *member = Member::start(member.settings.clone()).await;
    }
}

impl Member {
    async fn start(settings: Settings) -> Self {
        let member = Self { process: Arc::new(Process::start()), settings };
        let opened = member.told(Order::Open(Box::new(member.settings.clone()))).await;
        assert!(matches!(opened, Some(Report::Done)), "{opened:?}");
        member
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    fn begin(&self, order: Order) -> JoinHandle<Option<Report>> {
        let member = self.clone();
        tokio::spawn(async move { member.told(order).await })
    }

    pub(crate) async fn told(&self, order: Order) -> Option<Report> {
        self.process.told(&order).await
    }

    /// One piece of work, at once.
    pub(crate) async fn does(&self, what: Request, key: &str, tasks: usize) -> Outcome {
        self.begun(what, key, tasks).await.expect("no panic").expect("an outcome")
    }

    /// Begins one piece of work at once. The caller awaits it later. `None`: the test killed the process.
    pub(crate) fn begun(&self, what: Request, key: &str, tasks: usize) -> JoinHandle<Option<Outcome>> {
        let report =
            self.begin(Order::Run { work: vec![Work { key: key.to_owned(), what, tasks, after: 0 }], at: 0 });
        tokio::spawn(async move { the_outcome(report.await.expect("no panic")) })
    }

    pub(crate) async fn state(&self, key: &str) -> State {
        match self.told(Order::Tell(key.to_owned())).await {
            Some(Report::State(state)) => state,
            other => panic!("no state: {other:?}"),
        }
    }
}

/// Work that begins everywhere at once.
pub(crate) fn soon() -> u64 {
    now() + u64::try_from(HEADSTART.as_nanos()).expect("a short time")
}

fn together(what: Request, key: &str, tasks: usize) -> Order {
    Order::Run { work: vec![Work { key: key.to_owned(), what, tasks, after: 0 }], at: soon() }
}

fn the_outcome(report: Option<Report>) -> Option<Outcome> {
    match report? {
        Report::Outcomes(mut outcomes) => outcomes.pop(),
        other => panic!("no outcome: {other:?}"),
    }
}

/// The only token that all callers got. Each caller got one.
pub(crate) fn the_token(outcomes: &[Outcome]) -> String {
    let tokens: BTreeSet<&String> = outcomes.iter().flat_map(|outcome| &outcome.tokens).collect();
    let errors: Vec<&Failure> = outcomes.iter().flat_map(|outcome| &outcome.errors).collect();
    let without: usize = outcomes.iter().map(|outcome| outcome.without).sum();
    assert!(errors.is_empty() && without == 0 && tokens.len() == 1, "{tokens:?}, {without} none, {errors:?}");
    tokens.first().map(ToString::to_string).expect("a token")
}

/// How long the slowest caller waited.
pub(crate) fn longest(outcomes: &[Outcome]) -> Duration {
    outcomes.iter().map(|outcome| outcome.longest).max().unwrap_or_default()
}

/// Waits until all of them are done. `None`: the test killed the process.
pub(crate) async fn ended(begun: Vec<JoinHandle<Option<Outcome>>>) -> Vec<Outcome> {
    let begun: JoinSet<_> =
        begun.into_iter().map(|outcome| async { outcome.await.expect("no panic") }).collect();
    begun.join_all().await.into_iter().flatten().collect()
}

/// Waits for this token call, counted from 0, and returns the number of the process that makes it.
pub(crate) async fn the_caller(server: &AuthorizationServer, number: usize) -> usize {
    let begin = Instant::now();
    while server.token_calls() <= number {
        assert!(begin.elapsed() < Duration::from_secs(60), "token call {number} does not come");
        sleep(Duration::from_millis(1)).await;
    }
    server.callers()[number].parse().expect("a number")
}
