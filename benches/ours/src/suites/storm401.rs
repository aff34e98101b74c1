//! A token is revoked while a thousand requests are under way with it.

use std::time::Instant;

use forge_bench_kit::{Line, median, quartiles};
use forge_tests::{Api, AuthorizationServer, StatusCode};
use requestforge::{ClientCredentialsTokenProvider, HttpClient, TokenManager};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::two_workers;
use crate::{Pace, Result};

const REQUESTS: usize = 1_000;
/// The client and the API both have a socket for each request, and both are in this process.
const FILES: u64 = 2 * REQUESTS as u64 + 200;

pub(crate) fn run(pace: Pace) -> Result<()> {
    allow_files()?;
    two_workers()?.block_on(async {
        let mut storms = Vec::new();
        for _ in 0..pace.rounds(3, 10) {
            storms.push(Storm::rage().await?);
        }
        let most = |of: fn(&Storm) -> f64| storms.iter().map(of).fold(0.0, f64::max);
        let calls = most(|storm| storm.token_calls);
        Line::new("token calls after the token of 1,000 requests under way is revoked", calls, "calls")
            .anchor("the Python original renews several times")
            .goal("1", calls <= 1.0)
            .note("the most of all rounds")
            .print();
        let sends = most(|storm| storm.most_sends);
        Line::new("sends of each of these requests", sends, "at most")
            .goal("≤ 2", sends <= 2.0)
            .note("all were answered with 200")
            .print();
        let waits: Vec<f64> = storms.iter().map(|storm| storm.millis).collect();
        Line::new("from the first 401 to the last 200", median(&waits), "ms")
            .spread(quartiles(&waits))
            .note("1,000 replays over HTTP/1.1, with the API in the same process")
            .print();
        Ok(())
    })
}

/// The results of a storm.
struct Storm {
    token_calls: f64,
    most_sends: f64,
    millis: f64,
}

impl Storm {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    async fn rage() -> Result<Self> {
        let issuer = AuthorizationServer::start().await?;
        let api = Api::start(&issuer).await?;
        let provider = ClientCredentialsTokenProvider::builder(
            issuer.token_url(),
            issuer.client_id(),
            issuer.client_secret(),
        );
        let client = HttpClient::builder(api.base_url())
            .with_token_auth(TokenManager::new(provider.build()?))
            .build()?;
        answered(client.get("/warm-up").send().await?.status_code())?;

        issuer.revoke_all();
        api.clear();
        let before = issuer.token_calls();
        let mut requests = JoinSet::new();
        for number in 0..REQUESTS {
            let id = number.to_string();
            // The API holds its 401 until all requests are under way.
            api.hold(&id);
            let request = client.get("/users").header("x-request-id", id);
            requests.spawn(async { Ok(request.send().await?.status_code()) });
        }
        tokio::select! {
            () = api.until_waiting(REQUESTS) => {}
            Some(early) = requests.join_next() => {
                let status: Result<StatusCode> = early?;
                return Err(format!("a request was answered too early: {:?}", status?).into());
            }
        }
        let begun = Instant::now();
        api.release_all();
        while let Some(status) = requests.join_next().await {
            answered(status??)?;
        }
        Ok(Self {
            token_calls: (issuer.token_calls() - before) as f64,
            most_sends: api.max_sends_per_request() as f64,
            millis: begun.elapsed().as_secs_f64() * 1e3,
        })
    }
}

fn answered(status: StatusCode) -> Result<()> {
    if status.is_success() { Ok(()) } else { Err(format!("a request was answered with {status}").into()) }
}

/// Raises the limit of open files to the necessary number.
fn allow_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= FILES) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < FILES) {
        return Err(format!("it takes {FILES} open files, and this process may not have that many").into());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: limit.maximum })?)
}
