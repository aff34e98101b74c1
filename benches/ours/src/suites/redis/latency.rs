use std::time::{Duration, Instant};

use forge_bench_kit::{Line, median, paired_ratio, quartiles};
use forge_tests::RedisServer;
use requestforge::TokenStorage;
use requestforge::redis::{Client, cmd};

use super::{manager, storage};
use crate::Result;
use crate::local::token;

/// Times the operations that send commands to the server, each right after a GET over a connection like
/// ours.
pub(super) async fn measure(redis: &RedisServer, rounds: usize) -> Result<()> {
    let client = Client::open(redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let (ours, others) = (storage(&redis.url())?, storage(&redis.url())?);
    others.set("stored", &token(Duration::from_secs(3_600))).await?;
    ours.get("stored").await?;

    let mut times = Times::default();
    for round in 0..rounds {
        let begun = Instant::now();
        let _: String = cmd("GET").arg("token:stored").query_async(&mut connection).await?;
        times.get.push(micros(begun));

        let reader = manager(&ours, "stored")?;
        let begun = Instant::now();
        reader.get_token().await?;
        times.miss.push(micros(begun));

        let fetcher = manager(&ours, &format!("timed-{round}"))?;
        let begun = Instant::now();
        fetcher.get_token().await?;
        times.fetch.push(micros(begun));

        let begun = Instant::now();
        fetcher.invalidate_token().await?;
        times.invalidation.push(micros(begun));
    }
    times.print();
    Ok(())
}

/// In microseconds.
#[derive(Default)]
struct Times {
    get: Vec<f64>,
    miss: Vec<f64>,
    fetch: Vec<f64>,
    invalidation: Vec<f64>,
}

impl Times {
    fn print(&self) {
        let line = |name: &str, times: &[f64]| {
            Line::new(name, median(times), "µs")
                .anchor(format!("a GET {:.0} µs", median(&self.get)))
                .ratio(paired_ratio(times, &self.get))
                .spread(quartiles(times))
                .print();
        };
        line("Redis: time to a token that another process has stored", &self.miss);
        line("Redis: time of a whole leased fetch, the token call taking none", &self.fetch);
        line("Redis: time of an invalidation", &self.invalidation);
    }
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}
