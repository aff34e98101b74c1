use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forge_core::TokenStorage;
use redis::Value;
use tokio::task::AbortHandle;
use tokio::time::{Instant, advance, pause, resume, sleep};

use super::{CallTimes, State, SupervisedConnection};
use crate::RedisTokenStorage;
use crate::fake::{Fake, master};
use crate::servers::Servers;

/// The number of calls.
const CALLS: usize = 20;

fn storage(server: &Fake, command_timeout: Duration) -> RedisTokenStorage {
    RedisTokenStorage::builder(server.url()).command_timeout(command_timeout).build().unwrap()
}

/// So long that even a busy machine does not lose a quarter of it between two lines of a test.
const LONG: Duration = Duration::from_secs(4);
/// The longest time of an answer that does not count as slow.
const SLOW_OF_LONG: Duration = Duration::from_secs(1);

fn connection(storage: &RedisTokenStorage) -> Arc<SupervisedConnection> {
    let Servers::One(connection) = &storage.0.servers else { panic!("a cluster") };
    Arc::clone(connection)
}

fn supervisor(connection: &SupervisedConnection) -> AbortHandle {
    connection.supervisor.lock().unwrap().clone().expect("a supervisor")
}

/// Makes the connection look like a copy in a forked process: another process runs its supervisor.
fn make_forked_off(connection: &SupervisedConnection) {
    connection.shared.supervisor_process.fetch_add(1, Ordering::SeqCst);
}

/// The time that a command may take if the connection sends it at once.
fn time_of_a_command(connection: &SupervisedConnection) -> Duration {
    let now = Instant::now();
    connection.shared.slow_answers.deadline(now, now) - now
}

/// Waits until the server answers commands.
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
    assert_eq!(server.asked("EVALSHA") - before, 1, "commands that the server was known not to answer");

    is_silent.store(false, Ordering::SeqCst);
    comes_up(&storage).await;
}

/// Between two commands the server answers the supervisor's probes at once.
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

/// Each answer comes in time, but counts as slow.
#[tokio::test]
async fn inv18_a_process_that_starts_with_a_slow_server_sends_commands_for_one_deadline_and_no_more() {
    // A new connection takes at least three answers.
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

/// The server answers no command, and the caller's deadline passes as soon as the command is sent.
#[tokio::test]
async fn inv18_a_command_that_had_no_time_left_opens_the_breaker_of_no_quick_server() {
    let mute = |words: &[&str]| if words[0] == "EVALSHA" { String::new() } else { master(words) };
    let server = Fake::start(mute).await;
    let storage = storage(&server, LONG);
    let connection = connection(&storage);
    let mut live = connection.live(CallTimes::begin()).await.unwrap();
    let script = storage.0.scripts.read.prepare_invoke();

    let (quick, slow) = (Duration::from_millis(15), 2 * SLOW_OF_LONG);
    for (waited_here, round_trip, is_opened) in [
        // The time went to other connections of a cluster.
        (Duration::ZERO, quick, false),
        (Duration::ZERO, slow, false),
        // The time went to connecting to this server.
        (LONG, quick, false),
        (LONG, slow, true),
    ] {
        let now = Instant::now();
        let wait = CallTimes { begun: now - LONG, here: now - waited_here };
        live.round_trip = round_trip;
        assert!(connection.call::<Value>(&live, wait, &script, false).await.is_err());
        let case = format!("{waited_here:?} here, answers of {round_trip:?}");
        assert_eq!(connection.shared.is_down(), is_opened, "{case}");
        assert_eq!(time_of_a_command(&connection), if is_opened { SLOW_OF_LONG } else { LONG }, "{case}");
    }
}

#[tokio::test]
async fn inv18_a_process_that_never_had_a_connection_gives_commands_the_time_of_an_answer_that_is_not_slow() {
    let server = Fake::start(|_| String::new()).await;
    let storage = storage(&server, Duration::from_millis(40));
    let connection = connection(&storage);
    assert!(connection.live(CallTimes::begin()).await.is_err());
    assert!(connection.shared.is_down());
    assert_eq!(time_of_a_command(&connection), Duration::from_millis(10));
}

#[tokio::test]
async fn inv18_the_signs_of_life_fill_the_budget_of_a_process_that_sends_no_commands() {
    let server = Fake::start(master).await;
    let storage = storage(&server, LONG);
    let connection = connection(&storage);
    connection.live(CallTimes::begin()).await.unwrap();
    connection.shared.slow_answers.opened();
    assert_eq!(time_of_a_command(&connection), SLOW_OF_LONG);

    for _ in 0..200 {
        // The supervisor probes every 2.5 s at least. Only the pause in between is skipped: the
        // server answers in real time.
        pause();
        advance(Duration::from_millis(2_500)).await;
        resume();
        sleep(Duration::from_millis(20)).await;
        if time_of_a_command(&connection) > 3 * SLOW_OF_LONG {
            assert_eq!(server.asked("EVALSHA"), 0);
            return;
        }
    }
    panic!("a command still has only {:?}", time_of_a_command(&connection));
}

#[tokio::test]
async fn inv32_a_forked_process_starts_a_supervisor_and_leaves_its_parents_alone() {
    for is_forked_off in [true, false] {
        let server = Fake::start(master).await;
        let storage = storage(&server, LONG);
        let connection = connection(&storage);
        connection.live(CallTimes::begin()).await.unwrap();
        let first = supervisor(&connection);
        if is_forked_off {
            make_forked_off(&connection);
        } else {
            connection.shared.state.send_replace(State::Unsupervised);
        }
        connection.live(CallTimes::begin()).await.unwrap();
        assert_eq!(server.accepted(), 2, "no supervisor of its own");
        assert_eq!(first.is_finished(), !is_forked_off);
    }
}

#[tokio::test]
async fn inv32_a_forked_process_that_drops_a_connection_leaves_its_parents_supervisor_alone() {
    for is_forked_off in [true, false] {
        let server = Fake::start(master).await;
        let storage = storage(&server, LONG);
        let connection = connection(&storage);
        connection.live(CallTimes::begin()).await.unwrap();
        let supervisor = supervisor(&connection);
        if is_forked_off {
            make_forked_off(&connection);
        }
        drop((storage, connection));
        // The runtime ends the task when the test lets it run.
        sleep(Duration::from_millis(10)).await;
        assert_eq!(supervisor.is_finished(), !is_forked_off);
    }
}
