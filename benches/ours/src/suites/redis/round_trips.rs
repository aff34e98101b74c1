use std::time::Duration;

use forge_bench_kit::{Line, median};
use forge_tests::{Proxy, RedisServer};
use requestforge::{TokenManager, TokenStorage};

use super::{manager, storage};
use crate::Result;
use crate::local::token;

const HITS: usize = 1_000;
/// The time after which no more traffic of an operation follows.
const QUIET: Duration = Duration::from_millis(5);

/// Counts the round trips to the server over one established connection.
pub(super) async fn count(redis: &RedisServer, rounds: usize) -> Result<()> {
    let proxy = Proxy::start(redis.port()).await?;
    let counted = storage(&format!("redis://127.0.0.1:{}", proxy.port()))?;
    // A second storage acts as another process, so our storage gets its writes as announcements.
    let others = storage(&redis.url())?;
    counted.get("warm-up").await?;

    let mut trips = Trips::default();
    for round in 0..rounds {
        let key = format!("stored-{round}");
        others.set(&key, &token(Duration::from_secs(3_600))).await?;
        // Waits until all storages have the announcement.
        tokio::time::sleep(QUIET).await;
        let reader = manager(&counted, &key)?;
        trips.miss.push(trips_of(&proxy, reader.get_token()).await?);
        trips.hits.push(trips_of(&proxy, many_hits(&reader)).await?);

        let fetcher = manager(&counted, &format!("fetched-{round}"))?;
        trips.fetch.push(trips_of(&proxy, fetcher.get_token()).await?);
        let rejected = fetcher.get_token().await?;
        trips.renewal.push(trips_of(&proxy, fetcher.refresh_rejected(&rejected)).await?);
        trips.invalidation.push(trips_of(&proxy, fetcher.invalidate_token()).await?);
    }
    trips.print();
    Ok(())
}

#[derive(Default)]
struct Trips {
    hits: Vec<f64>,
    miss: Vec<f64>,
    fetch: Vec<f64>,
    renewal: Vec<f64>,
    invalidation: Vec<f64>,
}

impl Trips {
    /// Prints the medians, because now and then the count includes a keep-alive of the connection.
    fn print(&self) {
        let line =
            |name: &str, trips: &[f64]| Line::new(name, median(trips), "round trips").ratio(median(trips));
        let within = |name: &str, trips: &[f64], goal: &str, most: f64| {
            line(name, trips).anchor("a GET: 1").goal(goal, (1.0..=most).contains(&median(trips))).print();
        };
        let hits = median(&self.hits);
        Line::new(format!("Redis: {HITS} hits"), hits, "round trips").goal("0", hits <= 0.0).print();
        within("Redis: a token that another process has stored", &self.miss, "1", 1.0);
        within("Redis: a whole leased fetch, beside the token call", &self.fetch, "≤ 3", 3.0);
        within("Redis: an invalidation", &self.invalidation, "1", 1.0);
        line("Redis: a renewal after a 401, beside the token call", &self.renewal).anchor("a GET: 1").print();
    }
}

async fn many_hits(manager: &TokenManager) -> Result<()> {
    for _ in 0..HITS {
        manager.get_token().await?;
    }
    Ok(())
}

/// The round trips of this operation, including those after the caller has its answer.
async fn trips_of<T, E>(proxy: &Proxy, what: impl Future<Output = std::result::Result<T, E>>) -> Result<f64>
where
    crate::Failure: From<E>,
{
    let before = proxy.turns();
    what.await?;
    tokio::time::sleep(QUIET).await;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    Ok((proxy.turns() - before) as f64)
}
