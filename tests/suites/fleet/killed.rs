//! The test kills the holder of the lease in the middle of its token call.

use std::time::{Duration, Instant};

use forge_tests::fleet::{Request, Settings};
use forge_tests::{AuthorizationServer, Machine};
use tokio::time::sleep;

use crate::member::{Fleet, ended, settings, the_caller, the_token};
use crate::redis::Redis;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 16;
const TASKS: usize = 100;
const CALL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn inv04_when_the_holder_is_killed_another_takes_over_within_the_lease_and_a_second() {
    let _alone = alone().await;
    holders_are_killed(Duration::from_secs(1), rounds(200, 20)).await;
    if rounds(1, 0) > 0 {
        // The default lease.
        holders_are_killed(Duration::from_secs(5), 5).await;
    }
}

async fn holders_are_killed(lease: Duration, rounds: usize) {
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_delay(CALL);
    let settings = Settings { lease, ..settings(&server, &redis) };
    let mut fleet = Fleet::start(SIZE, &settings).await;
    let machine = Machine::watch();
    let mut times = Times::new();
    for round in 0..rounds {
        let key = format!("killed {round}");
        let before = server.token_calls();
        let begun = fleet.begin(Request::Get, &key, TASKS);
        let holder = the_caller(&server, before).await;
        sleep(CALL / 2).await;
        fleet.members[holder].process().kill().await;
        let killed = Instant::now();

        let outcomes = ended(begun).await;
        let excused = machine.stood_still_since(killed);
        let took = killed.elapsed();
        assert_eq!(outcomes.len(), SIZE - 1, "all but the one that was killed");
        let token = the_token(&outcomes);
        let calls = server.token_calls() - before;
        assert!(calls <= 2, "{calls} token calls in round {round}");
        assert_eq!(redis.token(&key).await, Some(token));
        assert!(
            took <= lease + Duration::from_secs(1) + excused,
            "{took:?} in round {round}, {excused:?} excused"
        );
        times.add(took);
        fleet.replace(holder).await;
    }
    println!(
        "killed: {rounds} holders of a lease of {lease:?}, two token calls each; all served after {times}"
    );
}
