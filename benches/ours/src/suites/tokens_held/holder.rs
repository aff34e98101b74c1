//! A process that holds tokens, and reports their memory and times.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_bench_kit::{CpuTime, median};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use requestforge::{InMemoryTokenStorage, TokenManager, TokenStorage};
use serde_json::json;

use super::COUNTABLE;
use super::memory::resident;
use crate::Result;
use crate::local::{Local, text, token};

/// The command that starts this process.
pub(crate) const WORD: &str = "held";
/// As the last argument: measures moka alone.
pub(crate) const MOKA: &str = "moka";

const ROUNDS: usize = 20;
const HITS: u32 = 100_000;
/// Hits before the timed ones: a tenth of a second.
const WARM_UP: u32 = 5_000_000;
/// Reads per round. Each round reads other tokens, so that the processor's caches do not have them yet.
const READS: u32 = 10_000;
/// A lifetime longer than the whole suite.
const LONG: Duration = Duration::from_secs(24 * 3_600);
/// A lifetime so short that the tokens expire during the suite.
const SHORT: Duration = Duration::from_secs(1);
/// The limit for waiting until the storage has removed expired tokens.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the process that holds this many tokens in our storage.
pub(crate) fn hold(tokens: u32) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let storage = InMemoryTokenStorage::builder().capacity(u64::from(tokens) + 1).build();
        let manager = TokenManager::builder(Local).storage(storage.clone()).cache_key("one more").build()?;
        let before = resident();
        fill(&storage, tokens, LONG).await?;
        let filled = resident();
        let hit = time_of_a_hit(&manager).await?;
        let read = time_of_a_read(&storage, tokens).await?;
        manager.invalidate_token().await?;
        let (mut expired, mut renewed) = (None, Vec::new());
        if tokens >= COUNTABLE {
            for _ in 0..2 {
                fill(&storage, tokens, SHORT).await?;
                until_empty(&storage).await?;
                expired.get_or_insert(resident() - before);
                fill(&storage, tokens, LONG).await?;
                renewed.push(resident() - before);
            }
        }
        let tell = json!({
            "hit": hit, "read": read, "bytes": filled - before,
            "bytes_expired": expired, "bytes_renewed": renewed.first(), "bytes_again": renewed.last(),
        });
        println!("{tell}");
        Ok(())
    })
}

/// Runs the process that holds this many keys and tokens in moka.
pub(crate) fn hold_in_moka(tokens: u32) {
    let cache =
        Cache::builder().max_capacity(u64::from(tokens)).eviction_policy(EvictionPolicy::lru()).build();
    let before = resident();
    for number in 0..tokens {
        cache.insert(key(number), Arc::new(text()));
        cache.run_pending_tasks();
    }
    let bytes = resident() - before;
    let mut nanos = Vec::new();
    for _ in 0..ROUNDS {
        let keys = some_keys(tokens);
        let begun = CpuTime::now();
        for key in &keys {
            black_box(cache.get(key));
        }
        nanos.push(each(begun, READS));
    }
    println!("{}", json!({ "bytes": bytes, "read": median(&nanos) }));
}

async fn fill(storage: &InMemoryTokenStorage, tokens: u32, lifetime: Duration) -> Result<()> {
    for number in 0..tokens {
        storage.set(&key(number), &token(lifetime)).await?;
    }
    Ok(())
}

fn key(number: u32) -> String {
    format!("service-{number:07}")
}

async fn time_of_a_hit(manager: &TokenManager) -> Result<f64> {
    // A process is slow at its start, and with few tokens it gets here early. So this warms it up.
    for _ in 0..WARM_UP {
        manager.get_token().await?;
    }
    let mut nanos = Vec::new();
    for _ in 0..ROUNDS {
        let begun = CpuTime::now();
        for _ in 0..HITS {
            manager.get_token().await?;
        }
        nanos.push(each(begun, HITS));
    }
    Ok(median(&nanos))
}

async fn time_of_a_read(storage: &InMemoryTokenStorage, tokens: u32) -> Result<f64> {
    let mut nanos = Vec::new();
    for _ in 0..ROUNDS {
        let keys = some_keys(tokens);
        let begun = CpuTime::now();
        for key in &keys {
            storage.get(key).await?.ok_or("a token has left too early")?;
        }
        nanos.push(each(begun, READS));
    }
    Ok(median(&nanos))
}

fn some_keys(tokens: u32) -> Vec<String> {
    (0..READS).map(|_| key(fastrand::u32(..tokens))).collect()
}

fn each(begun: CpuTime, times: u32) -> f64 {
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

async fn until_empty(storage: &InMemoryTokenStorage) -> Result<()> {
    let begun = Instant::now();
    while !storage.is_empty() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} expired tokens do not leave", storage.len()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
