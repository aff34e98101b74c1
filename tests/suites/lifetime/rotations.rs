//! The manager renews a token before any caller waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, undisturbed};
use requestforge::TokenManager;
use requestforge::testing::ManualClock;
use requestforge::token::{Clock, SystemClock};

use crate::world::{at_hand, at_once, builder};

const TASKS: usize = 64;

/// Many tasks that ask again and again until they are stopped.
struct Pollers {
    stop: Arc<AtomicBool>,
    waits: Arc<AtomicUsize>,
    polls: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Pollers {
    fn start(manager: &TokenManager) -> Self {
        let (stop, waits, polls) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let tasks = (0..TASKS)
            .map(|_| {
                let (manager, stop) = (manager.clone(), Arc::clone(&stop));
                let (waits, polls) = (Arc::clone(&waits), Arc::clone(&polls));
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        match at_once(manager.get_token()) {
                            Some(token) => drop(token.expect("a token")),
                            None => drop(waits.fetch_add(1, Ordering::SeqCst)),
                        }
                        polls.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
            })
            .collect();
        Self { stop, waits, polls, tasks }
    }

    /// The number of polls, and the number of those that would have had to wait.
    async fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        (self.polls.load(Ordering::SeqCst), self.waits.load(Ordering::SeqCst))
    }
}

/// The clock moves in small steps up to each renewal. During a renewal it is no faster than the machine's: a
/// token call of 200 ms takes 200 ms of the token's life.
async fn nobody_waits_at_rotations(life: u64, rotations: usize) {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_millis(200));
    server.set_lifetime(Some(Duration::from_secs(life)));
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    manager.warm_up(Duration::from_secs(10)).await.expect("a token");
    let begun = clock.now();

    let pollers = Pollers::start(&manager);
    for rotation in 1..=rotations {
        let old = at_hand(&manager).expect("a token");
        let step = Duration::from_secs(life) / 100;
        while let Some(left) = manager.status().next_renewal.filter(|left| !left.is_zero()) {
            if server.token_calls() > rotation {
                break;
            }
            clock.advance(left.min(step));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let due = Instant::now();
        while at_hand(&manager).is_none_or(|token| token == old) {
            assert!(due.elapsed() < Duration::from_secs(30), "nobody renews");
            let before = Instant::now();
            tokio::time::sleep(Duration::from_millis(10)).await;
            if server.token_calls() > rotation {
                clock.advance(before.elapsed().min(Duration::from_millis(20)));
            }
        }
        assert_eq!(server.token_calls(), rotation + 1, "one call for each rotation");
    }
    let (polls, waits) = pollers.stop().await;
    let lived = clock.now().monotonic_millis() - begun.monotonic_millis();
    println!("life {life} s: {rotations} rotations in {lived} ms of its time, {polls} polls, {waits} waits");
    assert_eq!(waits, 0, "of {polls} polls");
    assert_eq!(server.token_calls(), rotations + 1);
    assert!(polls > rotations * TASKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv06_nobody_waits_at_rotations_of_tokens_that_live_an_hour() {
    nobody_waits_at_rotations(3600, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv06_nobody_waits_at_rotations_of_tokens_that_live_a_minute() {
    nobody_waits_at_rotations(60, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv06_nobody_waits_at_rotations_of_tokens_that_live_five_seconds() {
    nobody_waits_at_rotations(5, 8).await;
}

/// By the machine's clock, without any simulation.
async fn nobody_waits_in_real_time(life: u64, length: Duration, at_least: usize) {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_millis(200));
    server.set_lifetime(Some(Duration::from_secs(life)));
    let manager = builder(&server, &Arc::new(SystemClock)).build().expect("a manager");
    manager.warm_up(Duration::from_secs(10)).await.expect("a token");
    let pollers = Pollers::start(&manager);
    let begun = Instant::now();
    while begun.elapsed() < length {
        let token = manager.cached().expect("a token");
        assert!(server.is_valid(token.access_token()), "the server would refuse it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (polls, waits) = pollers.stop().await;
    let rotations = server.token_calls() - 1;
    println!("life {life} s: {rotations} rotations in {length:?}, {polls} polls, {waits} waits");
    assert_eq!(waits, 0, "of {polls} polls");
    assert!(rotations >= at_least, "{rotations} rotations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv06_nobody_waits_at_rotations_of_tokens_that_really_live_five_seconds() {
    undisturbed(|| nobody_waits_in_real_time(5, Duration::from_secs(7), 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv06_nobody_waits_at_rotations_of_tokens_that_really_live_a_minute() {
    if std::env::var_os("FORGE_TEST_LONG").is_some() {
        undisturbed(|| nobody_waits_in_real_time(60, Duration::from_secs(90), 3)).await;
    }
}
