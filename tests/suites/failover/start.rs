//! The first use while one of the servers named is gone.

use std::time::{Duration, Instant};

use crate::machine::{Machine, Times};
use crate::servers::{Kind, Loss, Servers, try_with};
use crate::world::{World, turn};

const NEWCOMERS: usize = 20;
/// By the command time-out, with some time for everything else.
const LIMIT: Duration = Duration::from_millis(130);
/// How often all is measured anew, when others had the processors.
const ATTEMPTS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_one_server_that_is_gone_does_not_keep_a_process_from_sharing() {
    let _turn = turn().await;
    try_with(Kind::Sentinel, Loss::Paused, shares).await;
}

async fn shares(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    lose_one(&mut world.servers, loss).await;
    let machine = Machine::watch();
    for _ in 0..ATTEMPTS {
        let (mut times, mut alone, mut left_out) = (Times::new(), 0, 0);
        for _ in 0..NEWCOMERS {
            let late = world.process();
            let calls = world.issuer.token_calls();
            let begun = Instant::now();
            // In a task of its own: the servers of a case that ends beside this one hold up the others' task.
            let first = async move {
                late.id().await;
                begun.elapsed()
            };
            let took = tokio::spawn(first).await.expect("no panic");
            let calls = world.issuer.token_calls() - calls;
            // Who was in time in spite of it needs no excuse.
            if (took < LIMIT && calls == 0) || machine.stood_still_since(begun).is_zero() {
                times.add(took);
                alone += calls;
            } else {
                left_out += 1;
            }
        }
        println!(
            "{kind:?}, one {loss:?}: the first call takes {times}; {left_out} left out, {alone} token calls"
        );
        if left_out * 4 <= NEWCOMERS {
            assert_eq!(alone, 0, "they have the token of the others");
            assert!(times.percentile(100) < LIMIT, "{times}");
            return;
        }
    }
    panic!("this machine has too much else to do to measure anything");
}

/// No server that has a token of ours: a sentinel, or a replica.
async fn lose_one(servers: &mut Servers, loss: Loss) {
    let node = match servers {
        Servers::Sentinel(redis) => redis.sentinels()[0],
        Servers::Cluster(redis) => redis.nodes()[5],
    };
    servers.lose(node, loss).await;
}
