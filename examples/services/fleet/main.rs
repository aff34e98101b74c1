//! A fleet at work: several processes that share one token through Redis, and an authorization server
//! that counts.
//!
//! ```sh
//! cargo run -p forge-examples --bin fleet
//! cargo run -p forge-examples --bin fleet -- --help
//! ```
//!
//! `member.rs` has the code of one process.

#[path = "../../quickstart/chain.rs"]
mod chain;
mod fleet;
mod member;
mod redis;
#[path = "../../quickstart/timeline.rs"]
mod timeline;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use forge_tests::AuthorizationServer;
use requestforge::{RedisTokenStorage, TokenStorage};

use chain::Chain;
use fleet::Fleet;
use redis::StartedRedis;
use timeline::{Timeline, say};
use tokio::time::sleep;

/// Starts processes on this machine that share one token through Redis, and checks the promises of
/// requestforge.
///
/// Exits with a code other than 0 if a promise was not kept.
#[derive(Parser)]
#[command(bin_name = "cargo run -p forge-examples --bin fleet --")]
struct Options {
    /// The number of processes, from 2 to 64
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=64))]
    processes: u16,

    /// Use your server, redis://[user:password@]host[:port][/database], and leave the outage out. Without this,
    /// `cargo xtask redis --start` runs a server. Put a URL with a password into the environment variable
    #[arg(long, env = "REQUESTFORGE_REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,

    /// Run as one process of the fleet: read orders from standard input, print the results to standard
    /// output
    #[arg(long, hide = true)]
    member: bool,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

const TASKS: usize = 100;
const TOKEN_CALL: Duration = Duration::from_millis(100);
/// An announcement takes some milliseconds to reach all processes, and longer on a busy machine.
const NEWS: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.member { member::run().await.map(|()| true) } else { run(&options).await };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all promises were kept.
async fn run(options: &Options) -> Outcome<bool> {
    let processes = usize::from(options.processes);
    say(format_args!(
        "{processes} processes with {TASKS} tasks each. It is the authorization server that counts.\n"
    ));
    let mut timeline = Timeline::start();
    let redis = if let Some(url) = &options.redis_url {
        // This reports a wrong URL once, instead of once per process.
        let storage = RedisTokenStorage::builder(url).command_timeout(Duration::from_secs(5)).build()?;
        storage.exists("").await?;
        None
    } else {
        timeline.tell("`cargo xtask redis --start` looks for a Redis");
        Some(StartedRedis::start().await?)
    };
    let redis_url = match (&redis, &options.redis_url) {
        (Some(server), _) => server.url().to_owned(),
        (None, url) => url.clone().unwrap_or_default(),
    };
    let server = AuthorizationServer::start().await?;
    server.set_delay(TOKEN_CALL);
    timeline.tell(format!("authorization server: {}", server.token_url()));
    let whose = if redis.is_some() { &redis_url } else { "yours" };
    timeline.tell(format!("Redis:                {whose}"));
    let mut fleet = Fleet::start(processes, &server, &redis_url).await?;
    timeline.tell("the processes run");

    timeline.chapter("Cold start: all tasks of all processes ask at once, and there is no token yet");
    let calls = Calls::from_now(&server);
    let first = fleet.all("get").await?;
    calls.promise(&mut timeline, 1);
    timeline.promise(first.tokens == 1 && first.failures == 0, format!("one token for all ({first})"));

    timeline.chapter("Revocation: the API rejects the token, and all processes want another");
    server.revoke_all();
    let calls = Calls::from_now(&server);
    let second = fleet.all("rejected").await?;
    calls.promise(&mut timeline, 1);
    timeline.promise(second.tokens == 1 && second.failures == 0, format!("one token for all ({second})"));

    timeline.chapter("Invalidation: one process forgets the token, and the others notice");
    let calls = Calls::from_now(&server);
    fleet.one("invalidate").await?;
    sleep(NEWS).await;
    let third = fleet.all("get").await?;
    calls.promise(&mut timeline, 1);
    timeline.promise(third.tokens == 1 && third.failures == 0, format!("one token for all ({third})"));

    if let Some(redis) = redis {
        timeline.chapter("Outage: Redis is killed");
        // All have heard of the last token, and have read it.
        sleep(NEWS).await;
        fleet.all("get").await?;
        redis.stop().await?;
        let calls = Calls::from_now(&server);
        let fourth = fleet.all("get").await?;
        calls.promise(&mut timeline, 0);
        timeline.promise(fourth.failures == 0, format!("all are served by what they have ({fourth})"));
    }
    Ok(timeline.end())
}

/// The token calls that the server counts from a certain moment on.
struct Calls<'a> {
    server: &'a AuthorizationServer,
    before: usize,
}

impl<'a> Calls<'a> {
    fn from_now(server: &'a AuthorizationServer) -> Self {
        Self { server, before: server.token_calls() }
    }

    fn promise(&self, timeline: &mut Timeline, expected: usize) {
        let counted = self.server.token_calls() - self.before;
        let calls = if expected == 1 { "token call" } else { "token calls" };
        timeline.promise(counted == expected, format!("{expected} {calls} (counted: {counted})"));
    }
}
