use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use forge_tests::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A limit for events that should have happened long before.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A server that answers each request when the test says so, and counts the requests from 1 on.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<SharedState>,
    serving: JoinHandle<()>,
}

struct SharedState {
    arrived: watch::Sender<usize>,
    answers: watch::Sender<Answers>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[derive(Default)]
struct Answers {
    /// The answer to all requests that have none of their own.
    to_all: Option<StatusCode>,
    by_number: HashMap<usize, StatusCode>,
}

impl Server {
    /// Answers all requests with this status, until the test sets another one.
    pub(crate) async fn answering(status: u16) -> Self {
        let shared = Arc::new(SharedState {
            arrived: watch::Sender::default(),
            answers: watch::Sender::default(),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        let server = Self { address, shared, serving };
        server.answer_all(status);
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn answer_all(&self, status: u16) {
        let status = StatusCode::from_u16(status).expect("a status");
        self.shared.answers.send_modify(|answers| answers.to_all = Some(status));
    }

    /// From now on requests wait for their answer.
    pub(crate) fn hold(&self) {
        self.shared.answers.send_modify(|answers| answers.to_all = None);
    }

    pub(crate) fn answer(&self, number: usize, status: u16) {
        let status = StatusCode::from_u16(status).expect("a status");
        self.shared.answers.send_modify(|answers| _ = answers.by_number.insert(number, status));
    }

    pub(crate) fn requests(&self) -> usize {
        *self.shared.arrived.borrow()
    }

    /// Returns when so many requests have arrived.
    pub(crate) async fn until_requests(&self, count: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        let arrived = tokio::time::timeout(LIMIT, arrived.wait_for(|arrived| *arrived >= count)).await;
        arrived.expect("as many requests, some time").expect("a sender");
    }

    /// The most requests that were here together, without those whose end the server did not hear.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<SharedState>>) -> StatusCode {
    let here = Here::new(Arc::clone(&shared));
    let mut answers = shared.answers.subscribe();
    let own = |answers: &Answers| answers.by_number.get(&here.number).copied().or(answers.to_all);
    let answers = answers.wait_for(|answers| own(answers).is_some()).await;
    answers.ok().and_then(|answers| own(&answers)).unwrap_or(StatusCode::IM_A_TEAPOT)
}

/// A request, until the server answers it or its client is gone.
struct Here {
    shared: Arc<SharedState>,
    number: usize,
}

impl Here {
    fn new(shared: Arc<SharedState>) -> Self {
        let at_once = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let mut number = 0;
        shared.arrived.send_modify(|arrived| {
            *arrived += 1;
            number = *arrived;
        });
        Self { shared, number }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.shared.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}
