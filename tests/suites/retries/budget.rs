//! The requests that a failing server gets from all clones of a client.

use std::sync::atomic::{AtomicUsize, Ordering};

use forge_tests::{Origin, RawReply};
use requestforge::HttpClient;

use super::world::{always, client};

const CALLS: usize = 500;

/// Many calls at a time.
async fn calls(client: &HttpClient, count: usize) {
    const AT_ONCE: usize = 10;
    let callers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..count / AT_ONCE {
                    let _ = client.get("/").send().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
}

#[tokio::test]
async fn inv21_a_server_that_always_fails_sees_each_call_once_when_the_allowance_is_spent() {
    for failure in [RawReply::status(503), RawReply::hang_up()] {
        let origin = always(failure).await;
        let client = client(&origin);
        calls(&client, CALLS).await;
        assert_eq!(origin.requests().len(), CALLS + 100, "the allowance is 100 retries");
        origin.clear();
        calls(&client, CALLS).await;
        assert_eq!(origin.requests().len(), CALLS);
    }
}

#[tokio::test]
async fn inv21_a_server_that_fails_now_and_then_sees_at_most_1_2_times_the_calls() {
    // The server answers one of so many requests well.
    for good in [2, 3, 5] {
        let count = AtomicUsize::new(0);
        let reply = move |_: &_| {
            let is_good = (count.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(good);
            if is_good { RawReply::ok("") } else { RawReply::status(503) }
        };
        let origin = Origin::start(reply).await.expect("a server");
        let client = client(&origin);
        calls(&client, CALLS).await;
        origin.clear();
        calls(&client, CALLS).await;
        let requests = origin.requests().len();
        assert!(requests <= CALLS * 6 / 5 + 1, "{requests} requests, one of {good} good");
        assert!(requests > CALLS, "{requests} requests, one of {good} good: retries go on");
    }
}

#[tokio::test]
async fn the_allowance_comes_back_when_the_server_does() {
    let origin = always(RawReply::status(503)).await;
    let client = client(&origin);
    calls(&client, 100).await;
    origin.set_reply(|_| RawReply::ok(""));
    calls(&client, CALLS).await;
    origin.set_reply(|_| RawReply::status(503));
    origin.clear();
    calls(&client, 100).await;
    assert_eq!(origin.requests().len(), 200);
}
