//! The breaker: how many requests a server sees that fails, hangs or is gone (invariant 22).

#![allow(clippy::expect_used)]

mod own_fault;
mod refused_later;
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::breaker::{CircuitBreakerBuilder, CircuitState};
use requestforge::client::HttpClientBuilder;
use requestforge::testing::ManualClock;
use requestforge::token::Clock;
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, CircuitBreaker, CircuitBreakerRetryStrategy, HttpClient,
    HttpClientError, HttpResponse, SimpleRetryStrategy, TokenData, token_source_fn,
};
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use server::{LIMIT, Server};

/// A half-open circuit waits for a probe for twice this time. The breaker's clock does not move by itself.
const TIMEOUT: Duration = Duration::from_secs(30);
const OPEN_FOR: Duration = Duration::from_secs(30);

struct World {
    server: Server,
    breaker: CircuitBreaker,
    client: HttpClient,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new() -> Self {
        Self::with(|breaker| breaker, |client| client).await
    }

    async fn with(
        breaker: impl FnOnce(CircuitBreakerBuilder) -> CircuitBreakerBuilder,
        client: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder,
    ) -> Self {
        let server = Server::answering(500).await;
        let clock = Arc::new(ManualClock::new());
        let builder = CircuitBreaker::builder().clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let breaker = breaker(builder.open_for(OPEN_FOR)).build().expect("a breaker");
        let builder = HttpClient::builder(server.url()).with_circuit_breaker(breaker.clone());
        let client = client(builder.with_timeout(TIMEOUT)).build().expect("a client");
        Self { server, breaker, client, clock }
    }

    /// A world whose circuit five failures have opened, and whose waiting time is over.
    async fn half_open() -> Self {
        let world = Self::new().await;
        world.open().await;
        world.clock.advance(OPEN_FOR);
        world
    }

    async fn open(&self) {
        self.server.answer_all(500);
        for _ in 0..5 {
            assert_eq!(self.get().await.expect("an answer").status_code(), 500);
        }
        assert_eq!(self.state(), CircuitState::Open);
    }

    async fn get(&self) -> Result<HttpResponse, HttpClientError> {
        self.client.get("/").send().await
    }

    fn state(&self) -> CircuitState {
        self.breaker.state(&self.server.url()).expect("a URL")
    }

    /// Starts so many callers at once.
    fn callers(&self, count: usize) -> Callers {
        let (said, outcomes) = mpsc::unbounded_channel();
        let tasks = (0..count).map(|number| {
            let (client, said) = (self.client.clone(), said.clone());
            let task = tokio::spawn(async move {
                let outcome = client.get("/").send().await;
                // The receiver may have seen enough, and be gone.
                let _ = said.send((number, outcome));
            });
            (number, task)
        });
        Callers { tasks: tasks.collect(), outcomes }
    }
}

struct Callers {
    /// The callers that have not reported yet.
    tasks: HashMap<usize, JoinHandle<()>>,
    outcomes: mpsc::UnboundedReceiver<(usize, Result<HttpResponse, HttpClientError>)>,
}

impl Callers {
    async fn next(&mut self) -> Result<HttpResponse, HttpClientError> {
        let outcome = tokio::time::timeout(LIMIT, self.outcomes.recv()).await;
        let (number, outcome) = outcome.expect("an outcome, some time").expect("callers");
        self.tasks.remove(&number);
        outcome
    }

    /// Returns when the breaker has refused all but so many callers.
    async fn until_refused_but(&mut self, count: usize) {
        while self.tasks.len() > count {
            let error = self.next().await.expect_err("nothing was answered so far");
            assert!(error.is_circuit_open(), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv22_a_thousand_callers_at_half_open_are_three_requests_and_it_closes_again() {
    let world = World::half_open().await;
    world.server.hold();
    let mut callers = world.callers(1_000);
    callers.until_refused_but(3).await;
    world.server.until_requests(5 + 3).await;
    assert_eq!((world.server.requests(), world.server.most_at_once()), (5 + 3, 3));
    assert_eq!(world.state(), CircuitState::HalfOpen);

    // One probe succeeds.
    world.server.answer(6, 200);
    assert_eq!(callers.next().await.expect("an answer").status_code(), 200);
    // The test drops one probe.
    let dropped = *callers.tasks.keys().next().expect("two are left");
    let task = callers.tasks.remove(&dropped).expect("its task");
    task.abort();
    assert!(task.await.expect_err("dropped").is_cancelled());
    // One probe hangs. So the breaker lets one more pass, and waits for it.
    let mut others = world.callers(1_000);
    others.until_refused_but(1).await;
    world.server.until_requests(9).await;
    world.server.answer(9, 204);
    assert_eq!(others.next().await.expect("an answer").status_code(), 204);
    assert_eq!(world.state(), CircuitState::HalfOpen);
    assert!(world.get().await.expect_err("one hangs").is_circuit_open());
    assert_eq!(world.server.requests(), 9);

    // The probe does not report for twice its time-out.
    world.clock.advance(TIMEOUT * 2);
    world.server.answer_all(200);
    assert_eq!(world.get().await.expect("an answer").status_code(), 200);
    assert_eq!(world.state(), CircuitState::Closed);
    let before = world.server.requests();
    for _ in 0..20 {
        world.get().await.expect("an answer");
    }
    assert_eq!(world.server.requests(), before + 20);
}

#[tokio::test]
async fn inv22_a_probe_that_hangs_until_its_time_out_opens_the_circuit() {
    let world = World::half_open().await;
    world.server.hold();
    let probe = world.client.get("/").timeout(Duration::from_millis(50)).send();
    assert!(probe.await.expect_err("no answer").is_timeout());
    assert_eq!(world.state(), CircuitState::Open);
}

#[tokio::test]
async fn inv22_an_open_circuit_sends_nothing_and_says_so() {
    let world = World::new().await;
    world.open().await;
    world.clock.advance(Duration::from_secs(10));
    let error = world.client.get("/canary/?canary").send().await.expect_err("refused");
    assert!(error.is_circuit_open());
    let open = error.circuit_open().expect("the refusal");
    assert_eq!((open.origin(), open.time_left()), (&*world.server.url(), Some(Duration::from_secs(20))));
    assert!(!format!("{error} {error:?}").contains("?canary"));
    assert_eq!(world.server.requests(), 5);
}

#[tokio::test]
async fn inv22_what_is_a_failure() {
    for (statuses, state) in [
        (&[500, 501, 502, 503, 599][..], CircuitState::Open),
        (&[400, 401, 403, 404, 408, 418, 429, 499], CircuitState::Closed),
        (&[200, 204, 301, 304], CircuitState::Closed),
        (&[500, 500, 500, 500, 404, 500, 500, 500, 500], CircuitState::Closed),
    ] {
        let world = World::new().await;
        for status in statuses {
            world.server.answer_all(*status);
            assert_eq!(world.get().await.expect("an answer").status_code(), *status);
        }
        assert_eq!(world.state(), state, "{statuses:?}");
    }
}

#[tokio::test]
async fn inv22_a_server_that_is_gone_cuts_or_does_not_answer_fails() {
    let world = World::new().await;
    world.server.hold();
    // A port of ours without a listener.
    let silent = TcpSocket::new_v4().expect("a socket");
    silent.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let gone = format!("http://{}", silent.local_addr().expect("an address"));
    let cuts = Origin::start(|_| RawReply::ok("").with_header("content-length", "no number"));
    let cuts = cuts.await.expect("a server");
    for (case, url) in [("hangs", world.server.url()), ("gone", gone), ("cuts", cuts.url())] {
        for _ in 0..5 {
            let call = world.client.get(&url).timeout(Duration::from_millis(200)).send();
            assert!(!call.await.expect_err("no answer").is_circuit_open(), "{case}");
        }
        let error = world.client.get(&url).send().await.expect_err("refused");
        assert!(error.is_circuit_open(), "{case}: {error:?}");
    }
}

#[tokio::test]
async fn inv22_a_total_time_out_in_mid_request_is_a_failure() {
    let world = World::new().await;
    world.server.hold();
    for _ in 0..5 {
        let call = world.client.get("/").total_timeout(Duration::from_secs(2)).send();
        assert!(call.await.expect_err("no answer").is_timeout());
    }
    assert_eq!(world.state(), CircuitState::Open);
}

#[tokio::test]
async fn inv22_what_a_slow_token_leaves_of_the_total_time_out_says_nothing_of_the_server() {
    let total = Duration::from_millis(500);
    let source = token_source_fn(move || async move {
        tokio::time::sleep(total * 3 / 4).await;
        Ok(TokenData::new("t"))
    });
    let world = World::with(
        |breaker| breaker.failure_threshold(1),
        |client| client.with_token_auth(source).with_total_timeout(total),
    )
    .await;
    world.server.hold();
    for _ in 0..3 {
        assert!(world.get().await.expect_err("no answer").is_timeout());
    }
    assert_eq!(world.state(), CircuitState::Closed);
}

#[tokio::test]
async fn inv22_each_origin_has_a_circuit_of_its_own_also_behind_a_redirect() {
    let world = World::new().await;
    world.open().await;
    let target = world.server.url();
    let well = Origin::start(move |_| RawReply::redirect(302, target.clone())).await.expect("a server");
    let error = world.client.get(well.url()).send().await.expect_err("refused");
    assert_eq!(error.circuit_open().expect("a refusal").origin(), world.server.url());
    assert_eq!((well.requests().len(), world.server.requests()), (1, 5));
}

#[tokio::test]
async fn inv22_no_token_is_fetched_for_what_is_not_sent_and_none_is_no_failure() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let fails = Arc::new(Mutex::new(false));
    let (counted, failing) = (Arc::clone(&fetches), Arc::clone(&fails));
    let tokens = token_source_fn(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let fails = *failing.lock().expect("no panic");
        async move {
            if fails {
                Err(AuthenticationError::new("test", AuthenticationErrorKind::Connect))
            } else {
                Ok(TokenData::new("t"))
            }
        }
    });
    let world = World::with(|breaker| breaker, |client| client.with_token_auth(tokens)).await;
    world.open().await;
    assert_eq!(fetches.load(Ordering::SeqCst), 5);
    assert!(world.get().await.expect_err("refused").is_circuit_open());
    assert_eq!(fetches.load(Ordering::SeqCst), 5);

    world.clock.advance(OPEN_FOR);
    *fails.lock().expect("no panic") = true;
    for _ in 0..10 {
        assert!(world.get().await.expect_err("no token").is_authentication());
        assert_eq!(world.state(), CircuitState::HalfOpen);
    }
    *fails.lock().expect("no panic") = false;
    world.server.answer_all(200);
    for _ in 0..3 {
        world.get().await.expect("an answer");
    }
    assert_eq!((world.state(), world.server.requests()), (CircuitState::Closed, 5 + 3));
}

#[tokio::test]
async fn inv22_probes_whose_tokens_take_long_are_no_more_than_allowed_either() {
    let tokens = Arc::new(Semaphore::new(5));
    let asked = watch::Sender::new(0);
    let (waiting, asking) = (Arc::clone(&tokens), asked.clone());
    let source = token_source_fn(move || {
        asking.send_modify(|asked| *asked += 1);
        let tokens = Arc::clone(&waiting);
        async move {
            tokens.acquire().await.expect("never closed").forget();
            Ok(TokenData::new("t"))
        }
    });
    let world = World::with(|breaker| breaker, |client| client.with_token_auth(source)).await;
    world.open().await;
    world.server.hold();
    world.clock.advance(OPEN_FOR);
    let mut calls = JoinSet::new();
    for round in 1..=3 {
        for _ in 0..3 {
            calls.spawn(world.client.get("/").send());
        }
        asked.subscribe().wait_for(|asked| *asked == 5 + 3 * round).await.expect("a sender");
        // The breaker gives up their places, and other probes take them.
        world.clock.advance(TIMEOUT * 2);
    }
    tokens.add_permits(9);
    for _ in 0..6 {
        let outcome = calls.join_next().await.expect("a call").expect("no panic");
        assert!(outcome.expect_err("refused").is_circuit_open());
    }
    world.server.until_requests(5 + 3).await;
    assert_eq!((world.server.requests(), world.server.most_at_once()), (5 + 3, 3));
}

#[tokio::test]
async fn inv22_retries_end_when_the_circuit_opens_and_the_last_answer_is_the_callers() {
    let server = Server::answering(503).await;
    let breaker = CircuitBreaker::builder().failure_threshold(3).build().expect("a breaker");
    let retries = SimpleRetryStrategy::new().max_retries(100).delay(Duration::ZERO);
    let client = HttpClient::builder(server.url())
        .with_retry_strategy(CircuitBreakerRetryStrategy::new(retries, breaker.clone()))
        .build()
        .expect("a client");
    let response = client.get("/").send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), server.requests()), (503, 3));
    assert!(client.get("/").send().await.expect_err("refused").is_circuit_open());
    assert_eq!(server.requests(), 3);

    let second = HttpClient::builder(server.url())
        .with_retry_strategy(CircuitBreakerRetryStrategy::new(retries, breaker.clone()))
        .with_circuit_breaker(breaker)
        .build();
    let error = second.expect_err("two breakers");
    assert_eq!(error.config_error().expect("a setting").field(), "circuit_breaker");
}

#[tokio::test]
async fn inv22_clients_can_share_a_breaker_and_transitions_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listening = Arc::clone(&told);
    let world = World::with(
        |breaker| {
            breaker.on_transition(move |transition| {
                listening.lock().expect("no panic").push((transition.origin().to_owned(), transition.to()));
            })
        },
        |client| client,
    )
    .await;
    let other = HttpClient::builder(world.server.url()).with_circuit_breaker(world.breaker.clone());
    let other = other.build().expect("a client");
    world.open().await;
    assert!(other.get("/").send().await.expect_err("refused").is_circuit_open());
    world.clock.advance(OPEN_FOR);
    world.server.answer_all(200);
    for _ in 0..3 {
        other.get("/").send().await.expect("an answer");
    }
    world.get().await.expect("an answer");
    let expected = [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Closed];
    let expected: Vec<_> = expected.into_iter().map(|state| (world.server.url(), state)).collect();
    assert_eq!(*told.lock().expect("no panic"), expected);
}
