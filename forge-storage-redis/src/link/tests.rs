use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forge_core::TokenStorage;
use tokio::time::{Instant, sleep};

use crate::RedisTokenStorage;
use crate::fake::{Fake, master};

/// How often callers come.
const CALLS: usize = 20;

fn storage(server: &Fake, command_timeout: Duration) -> RedisTokenStorage {
    RedisTokenStorage::builder(&server.url()).command_timeout(command_timeout).build().unwrap()
}

/// Waits until commands are answered.
async fn comes_up(storage: &RedisTokenStorage) {
    let begun = Instant::now();
    while storage.get("k").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it stays down");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn inv18_after_a_command_without_an_answer_none_is_sent_until_the_server_answers() {
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = Arc::clone(&is_silent);
    let answer =
        move |words: &[&str]| if silent.load(Ordering::SeqCst) { String::new() } else { master(words) };
    let server = Fake::start(answer).await;
    let storage = storage(&server, Duration::from_millis(200));
    comes_up(&storage).await;

    is_silent.store(true, Ordering::SeqCst);
    let before = server.asked("EVALSHA");
    for _ in 0..CALLS {
        storage.get("k").await.unwrap_err();
    }
    assert_eq!(server.asked("EVALSHA") - before, 1, "commands of which it was known that nobody answers");

    is_silent.store(false, Ordering::SeqCst);
    comes_up(&storage).await;
}

/// Between two commands the probes of the keeper are answered at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_server_that_answers_probes_quickly_and_commands_slowly_is_left_alone_for_longer_and_longer()
{
    let slow = |words: &[&str]| {
        if words[0] == "EVALSHA" {
            std::thread::sleep(Duration::from_millis(60));
        }
        master(words)
    };
    let server = Fake::start(slow).await;
    let storage = storage(&server, Duration::from_millis(40));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_500) {
        let _ = storage.get("k").await;
        sleep(Duration::from_millis(1)).await;
    }
    // After pauses of 0, 50, 100, 200, 400 and 800 ms.
    let sent = server.asked("EVALSHA");
    assert!((1..=7).contains(&sent), "{sent} commands");
}

/// Each answer is in time, and each is slow.
#[tokio::test]
async fn inv18_a_process_that_starts_with_a_slow_server_sends_commands_for_one_deadline_and_no_more() {
    // A connection takes three answers at least.
    for (delay, most) in [(60, 1), (90, 0), (120, 0)] {
        let server = Fake::start_far(Duration::from_millis(delay), |_| master).await;
        let storage = storage(&server, Duration::from_millis(200));
        for _ in 0..CALLS {
            let _ = storage.get("k").await;
            sleep(Duration::from_millis(30)).await;
        }
        let sent = server.asked("EVALSHA");
        assert!(sent <= most, "answers of {delay} ms: {sent} commands");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_server_that_becomes_slow_is_sent_commands_for_one_deadline_and_no_more() {
    let is_slow = Arc::new(AtomicBool::new(false));
    let slow = Arc::clone(&is_slow);
    let answer = move |words: &[&str]| {
        if slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(60));
        }
        master(words)
    };
    let server = Fake::start(answer).await;
    let storage = storage(&server, Duration::from_millis(200));
    comes_up(&storage).await;
    is_slow.store(true, Ordering::SeqCst);
    let before = server.asked("EVALSHA");
    for _ in 0..CALLS {
        let _ = storage.get("k").await;
        sleep(Duration::from_millis(100)).await;
    }
    let sent = server.asked("EVALSHA") - before;
    assert!((1..=3).contains(&sent), "{sent} commands");
}
