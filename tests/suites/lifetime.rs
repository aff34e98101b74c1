//! A token's whole life over real sockets: renewed before anyone waits, kept when a renewal fails, and
//! back without a restart when the server or the secret is mended.
//!
//! `FORGE_TEST_LONG` adds a real minute's life, by the machine's clock.

#![allow(clippy::expect_used)]

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, Origin, RawReply, StatusCode};
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, ClientCredentials, ClientCredentialsTokenProvider, Clock,
    Credential, ManualClock, OAuth2TokenProvider, OAuth2TokenProviderBuilder, Secret, SecretSource,
    SystemClock, TokenData, TokenManager, TokenManagerBuilder,
};

const TASKS: usize = 64;

fn provider(
    server: &AuthorizationServer,
    secret: impl Into<SecretSource>,
    clock: &Arc<impl Clock>,
) -> OAuth2TokenProvider<ClientCredentials> {
    settings(server.token_url(), server.client_id(), secret, clock).build().expect("a provider")
}

fn settings(
    token_url: String,
    client_id: &str,
    secret: impl Into<SecretSource>,
    clock: &Arc<impl Clock>,
) -> OAuth2TokenProviderBuilder<ClientCredentials> {
    ClientCredentialsTokenProvider::builder(token_url, client_id, secret)
        .service_name("test")
        .clock(Arc::clone(clock) as _)
}

/// A manager and its provider by one clock.
fn builder(server: &AuthorizationServer, clock: &Arc<impl Clock>) -> TokenManagerBuilder {
    TokenManager::builder(provider(server, server.client_secret(), clock)).clock(Arc::clone(clock) as _)
}

fn at_origin(origin: &Origin, clock: &Arc<impl Clock>) -> TokenManager {
    let provider = settings(format!("{}/token", origin.url()), "client", "secret", clock);
    TokenManager::builder(provider.build().expect("a provider"))
        .clock(Arc::clone(clock) as _)
        .build()
        .expect("a manager")
}

/// The answer to the first question; `None`: the caller would wait.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Waits for what happens in other tasks, however slow the machine is.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not after 30 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn name(token: &Credential) -> String {
    token.access_token().to_owned()
}

fn at_hand(manager: &TokenManager) -> Option<String> {
    manager.with_token(|token| token.access_token().to_owned())
}

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

    /// How many polls there were, and how many of them would have had to wait.
    async fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        (self.polls.load(Ordering::SeqCst), self.waits.load(Ordering::SeqCst))
    }
}

/// The clock moves in small steps up to each renewal, and while one is under way no faster than the
/// machine's: a token call of 200 ms takes 200 ms of the token's life.
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

/// By the machine's clock: nothing is simulated here.
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
    nobody_waits_in_real_time(5, Duration::from_secs(7), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv06_nobody_waits_at_rotations_of_tokens_that_really_live_a_minute() {
    if std::env::var_os("FORGE_TEST_LONG").is_some() {
        nobody_waits_in_real_time(60, Duration::from_secs(90), 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv07_a_valid_token_serves_until_its_end_and_the_endpoint_is_found_again_when_it_is_back() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    let token = name(&manager.get_token().await.expect("a token"));
    clock.advance(manager.status().next_renewal.expect("it expires"));
    server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));

    // The endpoint is down from the first moment of the advisory window on.
    let mut attempts = 0;
    while manager.status().has_token {
        let is_due = manager.status().next_renewal.is_some_and(|left| left.is_zero());
        for _ in 0..10 {
            let answer = at_once(manager.get_token()).expect("nobody waits").expect("a valid token");
            assert_eq!(name(&answer), token);
        }
        if is_due {
            attempts += 1;
            // Asks on, should the last attempt not have landed yet when this one was due.
            until("the failure", || {
                at_once(manager.get_token()).expect("nobody waits").expect("a valid token");
                manager.status().cool_down.is_some()
            })
            .await;
        }
        assert_eq!(server.token_calls(), attempts + 1);
        clock.advance(Duration::from_millis(500));
    }
    println!("{attempts} attempts within the advisory window");
    assert!((5..=16).contains(&attempts), "{attempts} attempts in 4 minutes");

    // No token any more: all are told why, and not each by a call.
    let before = server.token_calls();
    for _ in 0..200 {
        let error = manager.get_token().await.expect_err("it is down");
        assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert!(error.is_transient() && !error.is_refresh(), "{error:?}");
    }
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.get_token().await.expect_err("it is down").status() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.expect("no panic"), Some(StatusCode::SERVICE_UNAVAILABLE));
    }
    assert!(server.token_calls() <= before + 1);

    server.set_failing(None);
    let calls = server.token_calls();
    manager.get_token().await.expect_err("the cool-down lasts");
    assert_eq!(server.token_calls(), calls);
    let step = manager.status().cool_down.expect("a cool-down");
    assert!(step <= Duration::from_secs(60), "{step:?}");
    clock.advance(step);
    assert_ne!(name(&manager.get_token().await.expect("it is back")), token);
    assert_eq!(server.token_calls(), calls + 1);
    assert!(manager.status().last_error.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv07_a_connection_refused_is_no_loss_while_the_token_is_valid() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    manager.get_token().await.expect("a token");
    let _port = server.stop().await.expect("stopped");
    clock.advance(manager.status().next_renewal.expect("it expires"));
    assert!(at_once(manager.get_token()).is_some_and(|token| token.is_ok()));
    until("the failure", || manager.status().last_error.is_some()).await;
    assert!(at_once(manager.get_token()).is_some_and(|token| token.is_ok()));
    clock.advance(manager.status().usable_for.expect("it expires"));
    let error = manager.get_token().await.expect_err("nobody listens");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Connect);
}

/// A file of this test's own, gone with it.
struct SecretFile(PathBuf);

impl SecretFile {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("forge-lifetime-{test}-{}", std::process::id())))
    }

    fn write(&self, secret: &str) {
        std::fs::write(&self.0, format!("{secret}\n")).expect("written");
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A minute of manual time, ten thousand calls, all refused.
async fn a_minute_of_refusals(manager: &TokenManager, clock: &ManualClock) {
    for _ in 0..10_000 {
        let error = manager.get_token().await.expect_err("a wrong secret");
        assert!(error.is_invalid_client() && error.is_permanent(), "{error:?}");
        clock.advance(Duration::from_millis(6));
    }
}

#[tokio::test]
async fn inv08_a_wrong_secret_is_a_handful_of_token_calls_and_mended_at_the_next() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let file = SecretFile::new("mended");
    file.write("wrong");
    let provider = provider(&server, SecretSource::file(&file.0), &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    a_minute_of_refusals(&manager, &clock).await;
    println!("{} token calls for 10,000 callers in a minute", server.token_calls());
    assert!((3..=6).contains(&server.token_calls()), "{} calls", server.token_calls());

    // Written anew, and wrong again: tried once, at once.
    let before = server.token_calls();
    file.write("wrong too");
    for _ in 0..100 {
        manager.get_token().await.expect_err("a wrong secret");
    }
    assert_eq!(server.token_calls(), before + 1);
    // Not a moment later.
    file.write(server.client_secret());
    manager.get_token().await.expect("mended");
    assert_eq!(server.token_calls(), before + 2);
    let status = manager.status();
    assert!(status.has_token && status.last_error.is_none() && status.cool_down.is_none(), "{status:?}");
}

#[tokio::test]
async fn inv08_a_secret_from_a_closure_is_read_before_each_token_call() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let vault = Arc::new(Mutex::new("wrong".to_owned()));
    let source = SecretSource::from_fn({
        let vault = Arc::clone(&vault);
        move || {
            let secret = vault.lock().expect("unpoisoned").clone();
            async move { Ok::<_, std::io::Error>(Secret::from(secret)) }
        }
    });
    let provider = provider(&server, source, &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    a_minute_of_refusals(&manager, &clock).await;
    assert!(server.token_calls() <= 6, "{} calls", server.token_calls());
    server.client_secret().clone_into(&mut vault.lock().expect("unpoisoned"));
    manager.get_token().await.expect("mended");
}

#[tokio::test]
async fn inv08_a_secret_that_changes_while_it_is_being_refused_is_tried_once_more_at_once() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let (reads, right) = (AtomicUsize::new(0), server.client_secret().to_owned());
    let source = SecretSource::from_fn(move || {
        let old = reads.fetch_add(1, Ordering::SeqCst) == 0;
        let secret = if old { "old".to_owned() } else { right.clone() };
        async move { Ok::<_, std::io::Error>(Secret::from(secret)) }
    });
    let provider = provider(&server, source, &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    manager.get_token().await.expect("a token");
    assert_eq!((server.token_calls(), server.tokens_issued()), (2, 1));
}

#[tokio::test]
async fn inv08_a_secret_that_is_another_at_each_reading_does_not_undo_the_cool_down() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let reads = AtomicUsize::new(0);
    // A vault that signs an assertion, for a client that is not known any more.
    let source = SecretSource::from_fn(move || {
        let secret = format!("assertion {}", reads.fetch_add(1, Ordering::SeqCst));
        async move { Ok::<_, std::io::Error>(Secret::from(secret)) }
    });
    let provider = provider(&server, source, &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    for _ in 0..100 {
        manager.get_token().await.expect_err("refused");
    }
    assert!(server.token_calls() <= 20, "{} token calls for 100 callers at once", server.token_calls());
}

#[tokio::test]
async fn inv08_a_secret_file_that_was_missing_is_read_at_the_next_call() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let file = SecretFile::new("missing");
    let provider = provider(&server, SecretSource::file(&file.0), &clock);
    let manager = TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager");
    let error = manager.get_token().await.expect_err("no file");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
    assert!(error.to_string().contains("forge-lifetime-missing"), "{error}");
    assert_eq!(server.token_calls(), 0);
    file.write(server.client_secret());
    let token = manager.get_token().await;
    assert!(token.is_ok(), "reading a file costs no token call, yet: {token:?}");
}

#[tokio::test]
async fn a_secret_from_the_environment_is_sent_as_it_is() {
    let origin = Origin::start(|_| RawReply::ok(r#"{"access_token":"t"}"#)).await.expect("a server");
    let (variable, value) = std::env::vars()
        .find(|(_, value)| value.len() > 3 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .expect("a plain variable");
    let clock = Arc::new(SystemClock);
    let provider =
        settings(format!("{}/token", origin.url()), "client", SecretSource::env(&variable), &clock);
    TokenManager::new(provider.build().expect("a provider")).get_token().await.expect("a token");
    let requests = origin.requests();
    let body = String::from_utf8_lossy(requests[0].body()).into_owned();
    assert!(body.contains(&format!("client_secret={value}")), "{variable}: {body}");
}

#[tokio::test]
async fn inv09_a_refresh_answer_without_a_refresh_token_keeps_the_old_one() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_refresh_tokens(true);
    let clock = Arc::new(ManualClock::new());
    let persisted = Persisted::default();
    let manager = persisted.by(&builder_of(&server, &clock)).build().expect("a manager");
    let first = manager.get_token().await.expect("a token");
    let refresh_token = first.token().refresh_token().expect("a refresh token").to_owned();
    assert_eq!(persisted.seen(), [name(&first)]);

    server.set_refresh_tokens(false);
    for refreshes in 1..=3 {
        clock.advance(manager.status().usable_for.expect("it expires"));
        let token = manager.get_token().await.expect("a token");
        assert_eq!(token.token().refresh_token(), Some(refresh_token.as_str()));
        assert_eq!(server.calls_by_grant("refresh_token"), refreshes);
    }
    assert_eq!(server.calls_by_grant("client_credentials"), 1);
    assert_eq!(persisted.seen().len(), 1, "nothing rotated");
}

/// What the hook was told of.
#[derive(Clone, Default)]
struct Persisted(Arc<Mutex<Vec<String>>>);

impl Persisted {
    fn seen(&self) -> Vec<String> {
        self.0.lock().expect("unpoisoned").clone()
    }

    fn by(&self, builder: &dyn Fn() -> TokenManagerBuilder) -> TokenManagerBuilder {
        let seen = Arc::clone(&self.0);
        builder().on_refresh_token(move |token: TokenData| {
            let seen = Arc::clone(&seen);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(token.refresh_token().is_some());
                seen.lock().expect("unpoisoned").push(token.access_token().to_owned());
            }
        })
    }
}

fn builder_of<'a>(
    server: &'a AuthorizationServer,
    clock: &'a Arc<ManualClock>,
) -> impl Fn() -> TokenManagerBuilder + 'a {
    move || builder(server, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv09_a_rotated_refresh_token_is_persisted_before_anybody_has_what_came_with_it() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_refresh_tokens(true);
    let clock = Arc::new(ManualClock::new());
    let persisted = Persisted::default();
    let manager = persisted.by(&builder_of(&server, &clock)).build().expect("a manager");
    manager.get_token().await.expect("a token");
    for round in 1..=5 {
        // By a caller who waits, and in the background.
        let left = manager.status();
        let is_background = round % 2 == 0;
        let left = if is_background { left.next_renewal } else { left.usable_for };
        // Looking at the token may set its renewal going.
        let issued = server.tokens_issued();
        clock.advance(left.expect("it expires"));
        let old = manager.status().has_token.then(|| at_hand(&manager)).flatten();
        loop {
            // What is handed out was persisted.
            let token = name(&manager.get_token().await.expect("a token"));
            assert!(persisted.seen().contains(&token), "handed out before it was persisted");
            if old.as_ref() != Some(&token) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((server.tokens_issued(), persisted.seen().len()), (issued + 1, round + 1));
    }
    assert_eq!(server.calls_by_grant("client_credentials"), 1);
    assert_eq!(server.calls_by_grant("refresh_token"), 5);
}

#[tokio::test]
async fn warm_up_tries_again_after_transient_failures() {
    let calls = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => RawReply::status(503),
        _ => RawReply::ok(r#"{"access_token":"t","expires_in":3600}"#),
    })
    .await
    .expect("a server");
    let manager = at_origin(&origin, &Arc::new(SystemClock));
    let status = manager.status();
    assert!(!status.has_token && status.last_error.is_none() && status.cool_down.is_none(), "{status:?}");
    assert!(status.usable_for.is_none() && status.next_renewal.is_none(), "{status:?}");
    manager.warm_up(Duration::from_secs(20)).await.expect("a token");
    assert_eq!(origin.requests().len(), 2);
    let status = manager.status();
    assert!(status.has_token && status.last_error.is_none() && status.cool_down.is_none(), "{status:?}");
    assert!(status.next_renewal < status.usable_for, "{status:?}");
}

#[tokio::test]
async fn warm_up_gives_up_in_time_with_the_last_failure() {
    let origin = Origin::start(|_| RawReply::status(503)).await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = at_origin(&origin, &clock);
    let begun = Instant::now();
    let error = manager.warm_up(Duration::from_millis(300)).await.expect_err("it is down");
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let status = manager.status();
    assert!(!status.has_token && status.last_error.is_some(), "{status:?}");
    assert!(status.cool_down.is_some_and(|left| left <= Duration::from_secs(1)), "{status:?}");
    clock.advance(Duration::from_secs(1));
    let status = manager.status();
    assert!(status.last_error.is_some() && status.cool_down.is_none(), "{status:?}");

    // And when nothing comes back at all.
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_secs(60));
    let manager = builder(&server, &clock).build().expect("a manager");
    let error = manager.warm_up(Duration::from_millis(100)).await.expect_err("too slow");
    assert!(error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn warm_up_does_not_try_a_wrong_secret_again() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager =
        TokenManager::builder(provider(&server, "wrong", &clock)).clock(clock).build().expect("a manager");
    let begun = Instant::now();
    let error = manager.warm_up(Duration::from_secs(60)).await.expect_err("a wrong secret");
    assert!(error.is_invalid_client(), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(server.token_calls(), 1);
    let cool_down = manager.status().cool_down.expect("a cool-down");
    assert!((Duration::from_secs(5)..=Duration::from_secs(10)).contains(&cool_down), "{cool_down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_waits_for_the_flight_and_ends_background_renewals_only() {
    let server = AuthorizationServer::start().await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    let first = name(&manager.get_token().await.expect("a token"));

    // A renewal is under way: it ends, and is not lost.
    server.set_delay(Duration::from_millis(200));
    clock.advance(manager.status().next_renewal.expect("it expires"));
    assert_eq!(at_hand(&manager), Some(first.clone()));
    until("the renewal", || server.token_calls() == 2).await;
    assert!(!manager.shutdown(Duration::from_millis(1)).await, "there was no time");
    assert!(manager.shutdown(Duration::from_secs(20)).await);
    let second = at_hand(&manager).expect("a token");
    assert_ne!(first, second);
    assert!(manager.shutdown(Duration::ZERO).await, "nothing is under way");

    // No renewal in the background any more, but tokens for whoever asks.
    clock.advance(manager.status().next_renewal.expect("it expires"));
    for _ in 0..10 {
        assert_eq!(name(&manager.get_token().await.expect("a token")), second);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.token_calls(), 2);
    clock.advance(manager.status().usable_for.expect("it expires"));
    assert_ne!(name(&manager.get_token().await.expect("a token")), second);
    assert_eq!(server.token_calls(), 3);
}

#[tokio::test]
async fn inv08_retry_after_is_heeded() {
    let date = |clock: &ManualClock| (clock.now().wall() + Duration::from_secs(120)).format(HTTP_DATE);
    let clock = Arc::new(ManualClock::new());
    for asked_for in ["120".to_owned(), date(&clock).to_string(), "120".to_owned()] {
        let clock = Arc::clone(&clock);
        let origin = Origin::start(move |_| {
            RawReply::status(429).with_header("retry-after", asked_for.clone()).with_body("slow down")
        })
        .await
        .expect("a server");
        let manager = at_origin(&origin, &clock);
        let error = manager.get_token().await.expect_err("too many");
        assert!(error.is_transient(), "{error:?}");
        let cool_down = manager.status().cool_down.expect("a cool-down");
        assert!((118..=120).contains(&cool_down.as_secs()), "{cool_down:?}");
        origin.set_reply(|_| RawReply::ok(r#"{"access_token":"t","expires_in":3600}"#));
        for _ in 0..117 {
            clock.advance(Duration::from_secs(1));
            let error = manager.get_token().await.expect_err("too early");
            assert_eq!(error.status(), Some(StatusCode::TOO_MANY_REQUESTS));
        }
        assert_eq!(origin.requests().len(), 1, "called before the time");
        clock.advance(manager.status().cool_down.expect("a cool-down"));
        manager.get_token().await.expect("a token");
        assert_eq!(origin.requests().len(), 2);
        // The date of the next round is that of this moment.
        clock.step_wall(-120_000);
    }
}

/// RFC 9110 5.6.7
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

#[tokio::test]
async fn inv08_retry_after_is_capped_at_an_hour() {
    let origin = Origin::start(|_| RawReply::status(503).with_header("retry-after", "99999999999"))
        .await
        .expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = at_origin(&origin, &clock);
    manager.get_token().await.expect_err("it is down");
    assert_eq!(manager.status().cool_down, Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn inv08_retry_after_zero_is_no_leave_to_call_per_caller() {
    let origin =
        Origin::start(|_| RawReply::status(429).with_header("retry-after", "0")).await.expect("a server");
    let clock = Arc::new(ManualClock::new());
    let manager = at_origin(&origin, &clock);
    for _ in 0..100 {
        manager.get_token().await.expect_err("too many");
    }
    assert!(origin.requests().len() <= 5, "{} token calls for 100 callers", origin.requests().len());
}

#[tokio::test]
async fn inv08_tokens_that_end_on_the_way_are_no_call_per_caller() {
    let origin = Origin::start(|_| RawReply::ok(r#"{"access_token":"t","expires_in":0.001}"#))
        .await
        .expect("a server");
    let manager = at_origin(&origin, &Arc::new(ManualClock::new()));
    for _ in 0..100 {
        let _ = manager.get_token().await;
    }
    assert!(origin.requests().len() <= 5, "{} token calls for 100 callers", origin.requests().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv10_a_clock_set_back_while_the_endpoint_answers_does_not_stretch_the_life() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_delay(Duration::from_millis(200));
    let clock = Arc::new(ManualClock::new());
    let manager = builder(&server, &clock).build().expect("a manager");
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.get_token().await.expect("a token").id() }
    });
    until("the call", || server.token_calls() == 1).await;
    clock.step_wall(-3_600_000);
    let first = caller.await.expect("no panic");
    clock.advance(Duration::from_secs(3600));
    assert!(manager.cached().is_none_or(|token| token.id() != first), "an hour old, and issued for an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv10_steps_and_suspends_do_not_stretch_a_life() {
    let server = AuthorizationServer::start().await.expect("a server");
    let day = Duration::from_secs(86_400);
    for (step, suspend) in [
        (-3_600_000, Duration::ZERO),
        (-86_400_000, Duration::ZERO),
        (3_600_000, Duration::ZERO),
        (86_400_000, Duration::ZERO),
        (0, Duration::from_secs(1800)),
        (0, day),
    ] {
        let clock = Arc::new(ManualClock::new());
        let manager = builder(&server, &clock).build().expect("a manager");
        let first: Result<_, AuthenticationError> = manager.get_token().await;
        let first = first.expect("a token").id();
        let begun = server.token_calls();
        clock.step_wall(step);
        clock.suspend(suspend);
        clock.advance(Duration::from_secs(3570).saturating_sub(suspend));
        assert!(manager.cached().is_none(), "{step} {suspend:?}");
        assert_ne!(manager.get_token().await.expect("a token").id(), first);
        assert_eq!(server.token_calls(), begun + 1);
        // Set right again: the new token is none the worse.
        clock.step_wall(-step);
        manager.get_token().await.expect("a token");
        manager.get_token().await.expect("a token");
        assert!(server.token_calls() <= begun + 2, "one call for each step at most");
    }
}
