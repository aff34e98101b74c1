//! The load on a server that comes back to 500 replicas.

use std::time::Duration;

use forge_tests::{AuthorizationServer, RedisServer, undisturbed};
use requestforge::RedisTokenStorage;
use tokio::time::{Instant, sleep};

use crate::alone;
use crate::counts::Counter;
use crate::fleet::{Fleet, MANY, patient};
use crate::table::Table;

/// A replica reads within half a second after it has connected again, at its next use.
const REST: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_server_that_comes_back_empty_meets_with_one_connection_of_each() {
    undisturbed(a_server_that_comes_back_empty_meets_with_one_connection_of_each).await;
}

async fn a_server_that_comes_back_empty_meets_with_one_connection_of_each() {
    let mut redis = RedisServer::start().await;
    let issuer = AuthorizationServer::start().await.expect("a server");
    let _alone = alone().await;
    let url = redis.url();
    let fleet = Fleet::of(MANY, &issuer, || patient(RedisTokenStorage::builder(&url)));
    fleet.use_token().await;
    // The replicas read the announced change before the server stops.
    sleep(Duration::from_millis(300)).await;
    fleet.use_token().await;
    redis.stop().await;
    sleep(Duration::from_millis(600)).await;
    assert_eq!(fleet.use_token().await, 1, "the one at hand");
    redis.start_again().await;
    let begun = Instant::now();
    let server = Counter::of(&url).await;
    let mut half = None;
    // All replicas use their token, ten times a second each.
    let mut connected_at = None;
    while connected_at.is_none_or(|at: Instant| at.elapsed() < REST) {
        assert!(begun.elapsed() < LIMIT, "{} are connected", server.connected().await);
        fleet.use_token().await;
        if half.is_none() && begun.elapsed() >= Duration::from_millis(500) {
            half = Some((server.now().await, begun.elapsed()));
        }
        if connected_at.is_none() && server.connected().await == MANY {
            connected_at = Some(Instant::now());
        }
        sleep(Duration::from_millis(100)).await;
    }
    let after = server.now().await;
    let (half, at) = half.expect("counted");
    let mut table =
        Table::new(format!("Standalone, {MANY} replicas, a server that was stopped and is back, empty"));
    table.add("the first half second", MANY, &half, format!("{} connections, at {at:?}", half.connections));
    table.add(
        "until all is as before",
        MANY,
        &after,
        format!("{} connections, {} token calls", after.connections, issuer.token_calls() - 1),
    );
    table.say("kinds", after.kinds(1));
    table.print();
    assert_eq!(server.connected().await, MANY);
    assert!(issuer.token_calls() <= 2);
    // The connections of the counter and of the check for the start are among them.
    assert!(after.connections <= MANY as u64 + 20, "{after:?}");
    assert!(after.sent() <= 16 * MANY as u64, "{after:?}");
}
