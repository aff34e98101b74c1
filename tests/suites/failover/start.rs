//! The first use while one of the servers named is gone.

use std::time::{Duration, Instant};

use crate::machine::Times;
use crate::servers::{Kind, Loss, Servers, try_with};
use crate::world::{World, turn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_one_server_that_is_gone_does_not_keep_a_process_from_sharing() {
    let _turn = turn().await;
    try_with(Kind::Sentinel, Loss::Paused, shares).await;
}

async fn shares(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    lose_one(&mut world.servers, loss).await;
    let mut times = Times::new();
    for _ in 0..20 {
        let late = world.process();
        let begun = Instant::now();
        late.id().await;
        times.add(begun.elapsed());
    }
    let calls = world.issuer.token_calls();
    println!("{kind:?}, one {loss:?}: the first call takes {times}; {calls} token calls");
    assert_eq!(calls, 1, "one fetches for all");
    assert!(times.percentile(100) < Duration::from_millis(130), "{times}");
}

/// No server that has a token of ours: a sentinel, or a replica.
async fn lose_one(servers: &mut Servers, loss: Loss) {
    let node = match servers {
        Servers::Sentinel(redis) => redis.sentinels()[0],
        Servers::Cluster(redis) => redis.nodes()[5],
    };
    servers.lose(node, loss).await;
}
