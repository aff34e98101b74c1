//! The first use while one of the configured servers is gone.

use std::time::{Duration, Instant};

use forge_tests::Machine;

use crate::servers::{Kind, Loss, Servers, try_with};
use crate::times::Times;
use crate::world::{World, in_turn};

const NEWCOMERS: usize = 20;
/// The command time-out, with some time for everything else.
const LIMIT: Duration = Duration::from_millis(130);
/// For each measurement that counts the test may leave out so many, when other programs had the processors.
const LEFT_OUT: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_one_server_that_is_gone_does_not_keep_a_process_from_sharing() {
    in_turn(|| try_with(Kind::Sentinel, Loss::Paused, shares)).await;
}

async fn shares(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    lose_one(&mut world.servers, loss).await;
    let machine = Machine::watch();
    let (mut times, mut alone, mut left_out) = (Times::new(), 0, 0);
    while times.count() < NEWCOMERS {
        let late = world.process();
        let calls = world.calls();
        let begun = Instant::now();
        // In a task of its own: otherwise the servers of a case that ends beside this one would delay it.
        let first = async move {
            late.id().await;
            begun.elapsed()
        };
        let took = tokio::spawn(first).await.expect("no panic");
        let calls = world.calls() - calls;
        // A process that was in time needs no excuse, even if the machine stood still.
        if (took < LIMIT && calls == 0) || machine.stood_still_since(begun).is_zero() {
            times.add(took);
            alone += calls;
        } else {
            left_out += 1;
            assert!(
                left_out <= NEWCOMERS * LEFT_OUT,
                "this machine has too much else to do to measure anything"
            );
        }
    }
    println!(
        "{kind:?}, one {loss:?}: the first call takes {times}; {left_out} left out, {alone} token calls"
    );
    assert_eq!(alone, 0, "they have the token of the others");
    assert!(times.percentile(100) < LIMIT, "{times}");
}

/// Takes away a server that has no token of ours: a sentinel, or a replica.
async fn lose_one(servers: &mut Servers, loss: Loss) {
    let node = match servers {
        Servers::Sentinel(redis) => redis.sentinels()[0],
        Servers::Cluster(redis) => redis.nodes()[5],
    };
    servers.lose(node, loss).await;
}
