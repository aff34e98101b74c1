//! A relay between the fleet and an authorization server. It tells which process sent which refresh token,
//! and it can keep an answer back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use requestforge::HttpClient;
use requestforge::storage::TokenId;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use forge_tests::fleet::name;

pub(crate) struct Relay {
    url: String,
    shared: Arc<SharedState>,
}

struct SharedState {
    to: HttpClient,
    path: String,
    seen: Mutex<LeaseRead>,
    /// A permit for each call whose answer the relay kept back.
    kept_back: Semaphore,
}

#[derive(Default)]
struct LeaseRead {
    /// The callers, in the order of their calls.
    callers: Vec<usize>,
    /// The number of times that each refresh token was sent.
    refresh_tokens: HashMap<String, usize>,
    keeps_back: bool,
    kept_back_from: Option<usize>,
}

impl Relay {
    /// A relay to this token endpoint.
    pub(crate) async fn start(token_url: &str) -> Self {
        let begin = token_url.find("://").expect("a URL") + 3;
        let end = begin + token_url[begin..].find('/').expect("a path");
        let (origin, path) = token_url.split_at(end);
        let shared = Arc::new(SharedState {
            to: HttpClient::builder(origin).build().expect("a client"),
            path: path.to_owned(),
            seen: Mutex::default(),
            kept_back: Semaphore::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/token", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&shared));
        // The task ends with the test's runtime.
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.shared.seen().callers.len()
    }

    /// Waits for this call, counted from 0, and returns the number of its process.
    pub(crate) async fn the_caller(&self, number: usize) -> usize {
        loop {
            let caller = self.shared.seen().callers.get(number).copied();
            if let Some(caller) = caller {
                return caller;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The number of different refresh tokens that were sent. Panics if one was sent twice.
    pub(crate) fn refresh_tokens(&self) -> usize {
        let seen = self.shared.seen();
        assert!(seen.refresh_tokens.values().all(|times| *times == 1), "{:?}", seen.refresh_tokens);
        seen.refresh_tokens.len()
    }

    /// The server carries out the next call, but the relay does not pass its answer on.
    pub(crate) fn keep_back_next(&self) {
        self.shared.seen().keeps_back = true;
    }

    /// Waits until the relay has kept an answer back, and returns the number of the calling process.
    pub(crate) async fn kept_back_from(&self) -> usize {
        self.shared.kept_back.acquire().await.expect("never closed").forget();
        self.shared.seen().kept_back_from.take().expect("a caller")
    }
}

impl SharedState {
    fn seen(&self) -> MutexGuard<'_, LeaseRead> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call. Returns whether the relay has to keep its answer back.
    fn count(&self, headers: &HeaderMap, form: &[u8]) -> bool {
        let fields: HashMap<String, String> = serde_urlencoded::from_bytes(form).expect("a form");
        let mut seen = self.seen();
        let caller = headers[USER_AGENT].to_str().ok().and_then(|mark| mark.parse().ok()).expect("a number");
        seen.callers.push(caller);
        if let Some(token) = fields.get("refresh_token") {
            *seen.refresh_tokens.entry(name(TokenId::of(token))).or_default() += 1;
        }
        let keeps_back = std::mem::take(&mut seen.keeps_back);
        seen.kept_back_from = keeps_back.then_some(caller).or(seen.kept_back_from);
        keeps_back
    }
}

async fn pass_on(State(shared): State<Arc<SharedState>>, headers: HeaderMap, form: Bytes) -> Response {
    let keeps_back = shared.count(&headers, &form);
    let call = shared.to.post(&shared.path).header("content-type", "application/x-www-form-urlencoded");
    let Ok(answer) = call.body(form.to_vec()).send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, content_type) = (answer.status_code(), answer.headers().get(CONTENT_TYPE).cloned());
    let body = answer.bytes().await.expect("an answer");
    if keeps_back {
        shared.kept_back.add_permits(1);
        std::future::pending::<()>().await;
    }
    let content_type = content_type.map(|content_type| [(CONTENT_TYPE, content_type)]);
    (status, content_type.unwrap_or([(CONTENT_TYPE, "text/plain".parse().expect("a type"))]), body)
        .into_response()
}
