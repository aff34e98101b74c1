//! One process of the fleet. It does the work of a replica of your service.

use std::collections::HashMap;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use requestforge::{
    ClientCredentialsTokenProvider, Credential, RedisTokenStorage, SecretSource, TokenManager,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::task::JoinSet;

use crate::{Outcome, TASKS};

/// The environment variables through which the fleet passes settings to its processes. A command line must
/// not contain a secret.
pub(super) const TOKEN_URL: &str = "REQUESTFORGE_FLEET_TOKEN_URL";
pub(super) const CLIENT_ID: &str = "REQUESTFORGE_FLEET_CLIENT_ID";
pub(super) const CLIENT_SECRET: &str = "REQUESTFORGE_FLEET_CLIENT_SECRET";
pub(super) const REDIS_URL: &str = "REQUESTFORGE_FLEET_REDIS_URL";
pub(super) const KEY_PREFIX: &str = "REQUESTFORGE_FLEET_KEY_PREFIX";

fn manager() -> Outcome<TokenManager> {
    let provider = ClientCredentialsTokenProvider::builder(
        env::var(TOKEN_URL)?,
        env::var(CLIENT_ID)?,
        SecretSource::env(CLIENT_SECRET),
    )
    .build()?;
    let storage = RedisTokenStorage::builder(env::var(REDIS_URL)?)
        .key_prefix(env::var(KEY_PREFIX)?)
        // This many processes keep a small machine busy. A slow answer is then no outage.
        .command_timeout(Duration::from_secs(2))
        .build()?;
    Ok(TokenManager::builder(provider).storage(storage).build()?)
}

/// Carries out orders from standard input, one word a line, until the input ends. For each order it prints
/// how many tasks had each token, how many had none, and how long the slowest one waited.
pub(super) async fn run() -> Outcome<()> {
    let manager = manager()?;
    let mut last = None;
    let mut orders = BufReader::new(stdin()).lines();
    println!("ready");
    while let Some(order) = orders.next_line().await? {
        let begun = Instant::now();
        if order == "invalidate" {
            manager.invalidate_token().await?;
        }
        let (tokens, failures) = if order == "invalidate" {
            (HashMap::new(), 0)
        } else {
            crowd(&manager, last.take().filter(|_| order == "rejected"), &mut last).await
        };
        let tokens: Vec<String> = tokens.into_keys().map(|name| name.to_string()).collect();
        println!("{failures} {} {}", begun.elapsed().as_millis(), tokens.join(" "));
    }
    Ok(())
}

/// Runs many tasks that need a token: any token, or another one than the rejected token.
async fn crowd(
    manager: &TokenManager,
    rejected: Option<Arc<Credential>>,
    last: &mut Option<Arc<Credential>>,
) -> (HashMap<u64, usize>, usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (manager, rejected) = (manager.clone(), rejected.clone());
        tasks.spawn(async move {
            match rejected {
                Some(rejected) => manager.refresh_rejected(&rejected).await.ok().flatten(),
                None => manager.get_token().await.ok(),
            }
        });
    }
    let (mut tokens, mut failures) = (HashMap::new(), 0);
    for token in tasks.join_all().await {
        match token {
            Some(token) => {
                // A name for the token that is not the token.
                let name = token.id().as_bytes().first_chunk().map_or(0, |name| u64::from_be_bytes(*name));
                *tokens.entry(name).or_default() += 1;
                *last = Some(token);
            }
            None => failures += 1,
        }
    }
    (tokens, failures)
}
