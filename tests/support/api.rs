mod reply;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use http::HeaderValue;

use crate::authorization_server::AuthorizationServer;
use crate::holds::Holds;
use crate::server::{Server, lock};
use crate::tokens::Tokens;

/// An API that accepts the tokens of an [`AuthorizationServer`].
///
/// It accepts any method and any path, with `Authorization: Bearer <token>`. Without a valid token it
/// answers 401 with a challenge and `{"error":"invalid_token"}`. It decides when the request arrives whether
/// the token is valid, however late it answers.
///
/// - `/health`, `/public` and the paths beneath them need no token.
/// - `/redirect?to=<URL>&status=<3xx>` redirects there, by default with 302.
/// - `/echo` answers JSON: `method`, `path`, `query`, `body` and names of the `headers`, not their values.
/// - Any other path answers `{"path":"…"}`.
///
/// A request may carry an id in `x-request-id`. The API counts how often each id came.
pub struct Api {
    server: Server,
    shared: Arc<SharedState>,
}

struct SharedState {
    tokens: Tokens,
    settings: Mutex<Settings>,
    holds: Holds,
    counts: Counts,
    seen: Mutex<LeaseRead>,
}

#[derive(Clone)]
struct Settings {
    delay: Duration,
    always_reject: bool,
    /// How many different tokens the API rejects, counted from the first that it sees.
    rejected_first: usize,
    challenge: Option<HeaderValue>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    accepted: AtomicUsize,
    rejected: AtomicUsize,
    open: AtomicUsize,
    open_with_credentials: AtomicUsize,
}

#[derive(Default)]
struct LeaseRead {
    sends: HashMap<String, usize>,
    /// Every token that the API saw, with the number of tokens that it saw before.
    tokens: HashMap<String, usize>,
}

impl Api {
    /// The `WWW-Authenticate` of a 401, unless a test sets another one.
    pub const CHALLENGE: &str = "Bearer error=\"invalid_token\"";

    /// Starts an API on a free port of 127.0.0.1. It still knows the tokens after the authorization server
    /// has stopped.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub async fn start(authorization_server: &AuthorizationServer) -> io::Result<Self> {
        let shared = Arc::new(SharedState {
            tokens: authorization_server.tokens(),
            settings: Mutex::new(Settings {
                delay: Duration::ZERO,
                always_reject: false,
                rejected_first: 0,
                challenge: Some(HeaderValue::from_static(Self::CHALLENGE)),
            }),
            holds: Holds::default(),
            counts: Counts::default(),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(reply::reply).with_state(Arc::clone(&shared));
        Ok(Self { server: Server::start(router).await?, shared })
    }

    /// The URL of the API, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.address)
    }
}

/// Settings that a test can change while the API runs.
impl Api {
    /// Waits this long before each answer. Default: not at all.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.shared.settings).delay = delay;
    }

    /// Whether the API rejects every token. Default: no.
    pub fn always_reject(&self, rejected: bool) {
        lock(&self.shared.settings).always_reject = rejected;
    }

    /// Rejects the first `tokens` different tokens for ever, like an API that learns late of the authorization
    /// server's new key. Default: none.
    pub fn reject_first(&self, tokens: usize) {
        lock(&self.shared.settings).rejected_first = tokens;
    }

    /// Sets the `WWW-Authenticate` of a 401; with `None` it has no such header. Default:
    /// [`CHALLENGE`](Self::CHALLENGE).
    ///
    /// # Panics
    ///
    /// If a header cannot hold this text.
    #[expect(clippy::expect_used, reason = "a mistake in a test, which ends it")]
    pub fn set_challenge(&self, challenge: Option<String>) {
        lock(&self.shared.settings).challenge = challenge
            .map(|challenge| HeaderValue::try_from(challenge).expect("a challenge that a header can hold"));
    }

    /// From now on, 401s to requests with this `x-request-id` wait until it is [released](Self::release).
    pub fn hold(&self, request_id: &str) {
        self.shared.holds.hold(request_id);
    }

    /// Sends the waiting 401s for this `x-request-id`, and does not hold later ones.
    pub fn release(&self, request_id: &str) {
        self.shared.holds.release(request_id);
    }

    /// Releases all held 401s.
    pub fn release_all(&self) {
        self.shared.holds.release_all();
    }

    /// The number of 401s that the API holds at the moment.
    pub fn waiting(&self) -> usize {
        self.shared.holds.waiting()
    }

    /// Returns when the API holds at least this many 401s.
    pub async fn until_waiting(&self, count: usize) {
        self.shared.holds.until_waiting(count).await;
    }
}

/// The counters of the API. It counts requests when they arrive, before it answers them.
impl Api {
    /// All requests: accepted, rejected and open ones.
    pub fn requests(&self) -> usize {
        self.shared.counts.requests.load(Ordering::SeqCst)
    }

    /// Requests that came with a valid token.
    pub fn accepted(&self) -> usize {
        self.shared.counts.accepted.load(Ordering::SeqCst)
    }

    /// Requests answered with 401.
    pub fn rejected(&self) -> usize {
        self.shared.counts.rejected.load(Ordering::SeqCst)
    }

    /// Requests for an open path.
    pub fn open_requests(&self) -> usize {
        self.shared.counts.open.load(Ordering::SeqCst)
    }

    /// Requests for an open path with an Authorization header, although the path needs none.
    pub fn open_requests_with_credentials(&self) -> usize {
        self.shared.counts.open_with_credentials.load(Ordering::SeqCst)
    }

    /// The number of requests with this `x-request-id`.
    pub fn sends_of(&self, request_id: &str) -> usize {
        lock(&self.shared.seen).sends.get(request_id).copied().unwrap_or_default()
    }

    /// The highest number of requests with the same `x-request-id`.
    pub fn max_sends_per_request(&self) -> usize {
        lock(&self.shared.seen).sends.values().copied().max().unwrap_or_default()
    }

    /// The number of different tokens that came, valid or not.
    pub fn tokens_seen(&self) -> usize {
        lock(&self.shared.seen).tokens.len()
    }

    /// Forgets the counters. Settings and held requests stay.
    pub fn clear(&self) {
        let counts = &self.shared.counts;
        let counts = [
            &counts.requests,
            &counts.accepted,
            &counts.rejected,
            &counts.open,
            &counts.open_with_credentials,
        ];
        for count in counts {
            count.store(0, Ordering::SeqCst);
        }
        *lock(&self.shared.seen) = LeaseRead::default();
    }
}

impl Drop for Api {
    /// A held reply would keep its connection open for ever.
    fn drop(&mut self) {
        self.release_all();
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("base_url", &self.base_url())
            .field("requests", &self.requests())
            .field("accepted", &self.accepted())
            .field("rejected", &self.rejected())
            .field("open_requests", &self.open_requests())
            .field("tokens_seen", &self.tokens_seen())
            .finish_non_exhaustive()
    }
}
