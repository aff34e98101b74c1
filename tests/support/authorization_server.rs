mod answer;
mod call;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, StatusCode};

use self::answer::Refusal;
use self::call::TokenCall;
use crate::server::{ClosedPort, Server, lock};
use crate::tokens::{Tokens, random};

/// An OAuth2 authorization server with one client and one user.
///
/// `POST /token` understands `client_credentials`, `password` and `refresh_token`. The client authenticates
/// in the body or by Basic. The secret and the password contain characters that either form has to encode,
/// so the server refuses a client that does not encode them.
pub struct AuthorizationServer {
    server: Server,
    shared: Arc<SharedState>,
}

struct SharedState {
    client_id: String,
    client_secret: String,
    username: String,
    password: String,
    tokens: Tokens,
    settings: Mutex<Settings>,
    calls: AtomicUsize,
    calls_by_grant: Mutex<HashMap<String, usize>>,
    callers: Mutex<Vec<String>>,
    issued: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Settings {
    delay: Duration,
    lifetime: Option<Duration>,
    refresh_tokens: bool,
    failing: Option<StatusCode>,
    retry_after: Option<u32>,
}

/// The start of a server, and the credentials of its client and its user.
impl AuthorizationServer {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        let shared = Arc::new(SharedState {
            client_id: format!("client-{}", random()),
            client_secret: awkward(),
            username: format!("user-{}", random()),
            password: awkward(),
            tokens: Tokens::default(),
            settings: Mutex::new(Settings {
                delay: Duration::ZERO,
                lifetime: Some(Duration::from_secs(3600)),
                refresh_tokens: false,
                failing: None,
                retry_after: None,
            }),
            calls: AtomicUsize::new(0),
            calls_by_grant: Mutex::default(),
            callers: Mutex::default(),
            issued: AtomicUsize::new(0),
        });
        let router = Router::new().route("/token", post(token)).with_state(Arc::clone(&shared));
        Ok(Self { server: Server::start(router).await?, shared })
    }

    /// Returns when the server has closed its port and all connections. A drop only begins that.
    ///
    /// # Errors
    ///
    /// The port could not be kept for this process.
    pub async fn stop(self) -> io::Result<ClosedPort> {
        self.server.stop().await
    }

    /// The URL of the token endpoint.
    pub fn token_url(&self) -> String {
        format!("http://{}/token", self.server.address)
    }

    /// The identifier of the client, a new one at each start.
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// The secret of the client, a new one at each start.
    pub fn client_secret(&self) -> &str {
        &self.shared.client_secret
    }

    /// The name of the user, a new one at each start.
    pub fn username(&self) -> &str {
        &self.shared.username
    }

    /// The password of the user, a new one at each start.
    pub fn password(&self) -> &str {
        &self.shared.password
    }

    pub(crate) fn tokens(&self) -> Tokens {
        self.shared.tokens.clone()
    }
}

/// Settings that a test can change while the server runs.
impl AuthorizationServer {
    /// The server waits this long before each answer, and decides on the answer after the wait. Default: not
    /// at all.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.shared.settings).delay = delay;
    }

    /// The life of the tokens that the server issues from now on, and their `expires_in` (whole seconds).
    /// With `None` they live until they are revoked, and there is no `expires_in`. Default: an hour.
    pub fn set_lifetime(&self, lifetime: Option<Duration>) {
        lock(&self.shared.settings).lifetime = lifetime;
    }

    /// Whether answers hold a refresh token, for every grant. Default: no.
    ///
    /// While answers do, each refresh token is good for one refresh, and its answer has the next one. While
    /// they do not, an earlier refresh token stays good, and the answer to its refresh has no other one.
    pub fn set_refresh_tokens(&self, given: bool) {
        lock(&self.shared.settings).refresh_tokens = given;
    }

    /// Answers every call with this status and nothing else. `None`, the default, ends that.
    pub fn set_failing(&self, status: Option<StatusCode>) {
        lock(&self.shared.settings).failing = status;
    }

    /// The seconds in the `Retry-After` of a failing server. `None`, the default, leaves the header out.
    pub fn set_retry_after(&self, seconds: Option<u32>) {
        lock(&self.shared.settings).retry_after = seconds;
    }

    /// Revokes every access token that the server has issued. Refresh tokens stay good.
    pub fn revoke_all(&self) {
        self.shared.tokens.revoke_all();
    }

    /// Revokes every refresh token that the server has issued. Access tokens stay good.
    pub fn revoke_refresh_tokens(&self) {
        self.shared.tokens.revoke_refresh_tokens();
    }
}

/// The counters of the server.
impl AuthorizationServer {
    /// Calls of the token endpoint, whatever their results. The server counts them when they arrive.
    pub fn token_calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Calls with this `grant_type`, whatever their results. The server counts them when they arrive.
    pub fn calls_by_grant(&self, grant_type: &str) -> usize {
        lock(&self.shared.calls_by_grant).get(grant_type).copied().unwrap_or_default()
    }

    /// The `User-Agent` of each call, in the order of arrival; empty for a call without one.
    pub fn callers(&self) -> Vec<String> {
        lock(&self.shared.callers).clone()
    }

    /// The number of access tokens that the server has issued.
    pub fn tokens_issued(&self) -> usize {
        self.shared.issued.load(Ordering::SeqCst)
    }

    /// Whether this server issued this access token, and it has neither expired nor been revoked.
    pub fn is_valid(&self, token: &str) -> bool {
        self.shared.tokens.is_valid(token)
    }

    /// Whether this server ever issued this access token.
    pub fn issued(&self, token: &str) -> bool {
        self.shared.tokens.was_issued(token)
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("token_url", &self.token_url())
            .field("client_id", &self.client_id())
            .field("token_calls", &self.token_calls())
            .field("tokens_issued", &self.tokens_issued())
            .finish_non_exhaustive()
    }
}

/// A secret that every encoding changes, and that no trimming shortens.
pub(crate) fn awkward() -> String {
    format!("{}/+ %2B:&=ü{}", random(), random())
}

async fn token(State(shared): State<Arc<SharedState>>, headers: HeaderMap, body: Bytes) -> Response {
    let call = TokenCall::read(&headers, &body);
    shared.count(call.as_ref().ok().and_then(TokenCall::grant_type), &headers);
    let delay = shared.settings().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let Settings { failing, retry_after, .. } = shared.settings();
    if let Some(status) = failing {
        let retry_after = retry_after.map(|seconds| [(RETRY_AFTER, seconds.to_string())]);
        return retry_after.map_or_else(|| status.into_response(), |header| (status, header).into_response());
    }
    call.and_then(|call| shared.grant(&call)).map_or_else(Refusal::into_response, IntoResponse::into_response)
}

impl SharedState {
    fn settings(&self) -> Settings {
        *lock(&self.settings)
    }

    fn count(&self, grant_type: Option<&str>, headers: &HeaderMap) {
        let caller = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        lock(&self.callers).push(caller.to_owned());
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(grant_type) = grant_type {
            *lock(&self.calls_by_grant).entry(grant_type.to_owned()).or_default() += 1;
        }
    }
}
