//! Many callers at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::peers::AnyPeer;

/// The result of a storm.
pub struct StormOutcome {
    /// The time from the first caller's start until the last caller got a result or gave up.
    pub wall: Duration,
    pub failed: usize,
    /// The number of callers that got no result in time.
    pub untold: usize,
}

/// Lets this many callers ask at once, and waits at most `limit` for them.
pub async fn storm(peer: &Arc<dyn AnyPeer>, callers: usize, limit: Duration) -> StormOutcome {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let peer = Arc::clone(peer);
        tasks.spawn(async move { peer.token().await.is_ok() });
    }
    let (mut failed, mut untold) = (0, callers);
    let _ = tokio::time::timeout(limit, async {
        while let Some(told) = tasks.join_next().await {
            untold -= 1;
            failed += usize::from(!told.unwrap_or(false));
        }
    })
    .await;
    StormOutcome { wall: start.elapsed(), failed, untold }
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
