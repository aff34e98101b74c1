use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use forge_tests::fleet::{Order, Report, Request, Settings, Topology, Work, now};
use forge_tests::{AuthorizationServer, RedisServer};

use crate::Result;
use crate::child::Process;

/// The time for an order to reach all processes, so that they begin at the same moment.
const HEADSTART: Duration = Duration::from_millis(30);
const LEASE: Duration = Duration::from_secs(5);

/// Processes that share one Redis.
pub(super) struct Members(Vec<Process>);

impl Members {
    pub(super) fn start(size: usize, redis: &RedisServer, issuer: &AuthorizationServer) -> Result<Self> {
        let settings = Settings {
            token_url: issuer.token_url(),
            client_id: issuer.client_id().to_owned(),
            client_secret: issuer.client_secret().to_owned(),
            user: None,
            steps: false,
            mark: String::new(),
            redis: Topology::One(redis.url()),
            prefix: "bench".to_owned(),
            lease: LEASE,
            clock_ahead: 0,
        };
        let program = program()?;
        let start = |_| Process::start(&mut Command::new(&program));
        let mut members = Self((0..size).map(start).collect::<Result<_>>()?);
        members.told(&Order::Open(Box::new(settings)))?;
        Ok(members)
    }

    /// Makes all tasks of all processes ask for the token at the same moment.
    pub(super) fn all_get(&mut self, key: &str, tasks: usize) -> Result<()> {
        let work = vec![Work { key: key.to_owned(), what: Request::Get, tasks, after: 0 }];
        let at = now() + u64::try_from(HEADSTART.as_nanos())?;
        for report in self.told(&Order::Run { work, at })? {
            let Report::Outcomes(outcomes) = report else {
                return Err("a process told something else".into());
            };
            if let Some(failure) = outcomes.iter().find_map(|outcome| outcome.errors.first()) {
                return Err(format!("a process got no token: {}", failure.text).into());
            }
        }
        Ok(())
    }

    /// Sends the order to all processes, and then waits for all reports.
    fn told(&mut self, order: &Order) -> Result<Vec<Report>> {
        let order = serde_json::to_string(order)?;
        for member in &mut self.0 {
            member.tell(&order)?;
        }
        self.0.iter_mut().map(|member| Ok(serde_json::from_str(&member.line()?)?)).collect()
    }
}

/// `fleet-member` of `forge-tests`, which was built together with this program.
fn program() -> Result<PathBuf> {
    let program = env::current_exe()?.with_file_name(format!("fleet-member{}", env::consts::EXE_SUFFIX));
    if program.is_file() {
        return Ok(program);
    }
    Err("`fleet-member` is not beside this program; `cargo xtask bench` builds both, or: cargo build --release \
         -p forge-benches -p forge-tests --features forge-tests/fleet --bins"
        .into())
}
