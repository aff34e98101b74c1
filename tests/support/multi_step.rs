mod answer;
mod call;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::authorization_server::awkward;
use crate::holds::Holds;
use crate::server::{Server, lock};
use crate::tokens::{Tokens, random};

/// An API behind several token calls: one token buys the next, and the last one opens the API.
///
/// | step | call | wants | hands out |
/// | --- | --- | --- | --- |
/// | [`App`](Step::App) | `POST /v1/app/token` | `grant_type=client_credentials`, `client_id`, `client_secret` as a form | `access_token` |
/// | [`Device`](Step::Device) | `GET` or `POST /v1/device/token` | `device_id`, `device_key` | `access_token` |
/// | [`User`](Step::User) | `POST /v1/user/token` | an app token in `X-App-Token`; `username`, `password` | `access_token` |
/// | [`Session`](Step::Session) | `POST /v1/session` | `Authorization: Bearer <user token>` | the header `X-Session-Id` |
///
/// If the table names no form, fields may come as a form, as JSON (at the top or in an object `credentials`)
/// or, with `GET`, in the query. The server checks every credential. It refuses a wrong or missing one with
/// 401, and a call that it cannot read with 400.
///
/// Any other path is the API: below `/user` it wants a user token, elsewhere a session id, as
/// `Authorization: Bearer <…>` or, the latter, in `X-Session-Id`. It answers `{"path":"…"}`.
pub struct MultiStepServer {
    server: Server,
    shared: Arc<SharedState>,
}

/// A call of a [`MultiStepServer`] that hands out a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The token of the application.
    App,
    /// The token of the machine. It needs no other token, so a client may fetch it beside that of the
    /// application.
    Device,
    /// The token of the user. The application asks for it.
    User,
    /// The session of the user.
    Session,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 4] = [Self::App, Self::Device, Self::User, Self::Session];

    /// The name of the step in a pipeline: `app_token`, `device_token`, `user_token`, `session`.
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app_token",
            Self::Device => "device_token",
            Self::User => "user_token",
            Self::Session => "session",
        }
    }

    /// The path of the step's endpoint.
    pub fn path(self) -> &'static str {
        match self {
            Self::App => "/v1/app/token",
            Self::Device => "/v1/device/token",
            Self::User => "/v1/user/token",
            Self::Session => "/v1/session",
        }
    }
}

struct SharedState {
    client: (String, String),
    device: (String, String),
    user: (String, String),
    endpoints: [Endpoint; Step::ALL.len()],
    wants: Mutex<Wants>,
    holds: Holds,
    under_way: AtomicUsize,
    most_at_once: AtomicUsize,
    requests: AtomicUsize,
    accepted: AtomicUsize,
    rejected: AtomicUsize,
}

struct Endpoint {
    tokens: Tokens,
    settings: Mutex<Settings>,
    calls: AtomicUsize,
    refused: AtomicUsize,
}

#[derive(Clone)]
struct Settings {
    delay: Duration,
    lifetime: Option<Duration>,
    failing: Option<StatusCode>,
    retry_after: Option<u32>,
    echoing: bool,
    shape: Option<Arc<Shape>>,
}

/// The body of an answer with this token.
type Shape = dyn Fn(&str) -> Value + Send + Sync;

#[derive(Clone, Copy)]
struct Wants {
    app_token: bool,
    device_token: bool,
}

/// The start of a server, and its credentials. All of them are new at each start.
impl MultiStepServer {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        let shared = Arc::new(SharedState {
            client: (format!("client-{}", random()), awkward()),
            device: (format!("device-{}", random()), awkward()),
            user: (format!("user-{}", random()), awkward()),
            endpoints: Step::ALL.map(|_| Endpoint::new()),
            wants: Mutex::new(Wants { app_token: true, device_token: false }),
            holds: Holds::default(),
            under_way: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            rejected: AtomicUsize::new(0),
        });
        let mut router = Router::new().fallback(answer::api);
        for step in Step::ALL {
            let hand_out = move |state, request| answer::hand_out(step, state, request);
            let methods = if step == Step::Device { post(hand_out).get(hand_out) } else { post(hand_out) };
            router = router.route(step.path(), methods);
        }
        let router = router.with_state(Arc::clone(&shared));
        Ok(Self { server: Server::start(router).await?, shared })
    }

    /// The URL of all endpoints and of the API, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The identifier of the application.
    pub fn client_id(&self) -> &str {
        &self.shared.client.0
    }

    /// The secret of the application.
    pub fn client_secret(&self) -> &str {
        &self.shared.client.1
    }

    /// The identifier of the machine.
    pub fn device_id(&self) -> &str {
        &self.shared.device.0
    }

    /// The secret of the machine.
    pub fn device_key(&self) -> &str {
        &self.shared.device.1
    }

    /// The name of the user.
    pub fn username(&self) -> &str {
        &self.shared.user.0
    }

    /// The password of the user.
    pub fn password(&self) -> &str {
        &self.shared.user.1
    }
}

/// Settings that a test can change while the server runs.
impl MultiStepServer {
    /// The server waits this long before each answer, and decides on the answer after the wait. Default: not
    /// at all.
    pub fn set_delay(&self, step: Step, delay: Duration) {
        self.set(step, |settings| settings.delay = delay);
    }

    /// The life of the tokens that the server issues from now on, and their `expires_in` (whole seconds).
    /// With `None` they live until they are revoked, and there is no `expires_in`. Default: an hour.
    pub fn set_lifetime(&self, step: Step, lifetime: Option<Duration>) {
        self.set(step, |settings| settings.lifetime = lifetime);
    }

    /// Answers every call with this status. `None`, the default, ends that.
    pub fn set_failing(&self, step: Step, status: Option<StatusCode>) {
        self.set(step, |settings| settings.failing = status);
    }

    /// The seconds in the `Retry-After` of a failing step. `None`, the default, leaves the header out.
    pub fn set_retry_after(&self, step: Step, seconds: Option<u32>) {
        self.set(step, |settings| settings.retry_after = seconds);
    }

    /// Whether a refusal and a failure repeat the whole request in `error_description`: method, target,
    /// headers and body. Default: no.
    pub fn set_echoing(&self, step: Step, echoing: bool) {
        self.set(step, |settings| settings.echoing = echoing);
    }

    /// Sets the function that makes the body of a token's answer from that token. By default the body has
    /// `access_token`, `token_type` and `expires_in`; that of a session only `expires_in`.
    pub fn set_answer(&self, step: Step, shape: impl Fn(&str) -> Value + Send + Sync + 'static) {
        self.set(step, |settings| settings.shape = Some(Arc::new(shape)));
    }

    /// Whether the step of the user needs an app token. Default: yes.
    pub fn want_app_token(&self, wanted: bool) {
        lock(&self.shared.wants).app_token = wanted;
    }

    /// Whether the step of the user also needs a device token, in `X-Device-Token`. Default: no.
    pub fn want_device_token(&self, wanted: bool) {
        lock(&self.shared.wants).device_token = wanted;
    }

    /// Revokes every token that this step has issued. The tokens that clients bought with them stay good.
    pub fn revoke(&self, step: Step) {
        self.shared.endpoint(step).tokens.revoke_all();
    }

    /// From now on, calls of this step wait for their answer until it is [released](Self::release).
    pub fn hold(&self, step: Step) {
        self.shared.holds.hold(step.name());
    }

    /// Answers the waiting calls of this step, and does not hold later ones.
    pub fn release(&self, step: Step) {
        self.shared.holds.release(step.name());
    }

    /// Returns when the server holds at least so many calls, of any steps.
    pub async fn until_held(&self, count: usize) {
        self.shared.holds.until_waiting(count).await;
    }

    fn set(&self, step: Step, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.shared.endpoint(step).settings));
    }
}

/// The counters of the server. It counts everything but refusals when the request arrives.
impl MultiStepServer {
    /// Calls of a step, whatever their results.
    pub fn calls(&self, step: Step) -> usize {
        self.shared.endpoint(step).calls.load(Ordering::SeqCst)
    }

    /// Calls of each step, in this order: App, Device, User, Session.
    pub fn all_calls(&self) -> [usize; Step::ALL.len()] {
        Step::ALL.map(|step| self.calls(step))
    }

    /// Calls of a step that the server refused because of their credentials.
    pub fn refused(&self, step: Step) -> usize {
        self.shared.endpoint(step).refused.load(Ordering::SeqCst)
    }

    /// The highest number of calls, of any steps, that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }

    /// Requests to the API.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Requests to the API with the right credential.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Requests to the API that got a 401.
    pub fn rejected(&self) -> usize {
        self.shared.rejected.load(Ordering::SeqCst)
    }

    /// Whether this step issued this token, and it has neither expired nor been revoked.
    pub fn is_valid(&self, step: Step, token: &str) -> bool {
        self.shared.endpoint(step).tokens.is_valid(token)
    }

    /// Every token that this step ever issued, in no order.
    pub fn tokens_issued(&self, step: Step) -> Vec<String> {
        self.shared.endpoint(step).tokens.all_issued()
    }
}

impl Endpoint {
    fn new() -> Self {
        let settings = Settings {
            delay: Duration::ZERO,
            lifetime: Some(Duration::from_secs(3600)),
            failing: None,
            retry_after: None,
            echoing: false,
            shape: None,
        };
        Self {
            tokens: Tokens::default(),
            settings: Mutex::new(settings),
            calls: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }
}

impl SharedState {
    #[expect(clippy::indexing_slicing, reason = "there is one for each step")]
    fn endpoint(&self, step: Step) -> &Endpoint {
        &self.endpoints[step as usize]
    }
}

impl Drop for MultiStepServer {
    /// A held reply would keep its connection open for ever.
    fn drop(&mut self) {
        self.shared.holds.release_all();
    }
}

impl fmt::Debug for MultiStepServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Map<String, Value> =
            Step::ALL.iter().map(|step| (step.name().to_owned(), self.calls(*step).into())).collect();
        f.debug_struct("MultiStepServer")
            .field("base_url", &self.base_url())
            .field("calls", &calls)
            .field("requests", &self.requests())
            .field("accepted", &self.accepted())
            .field("rejected", &self.rejected())
            .finish_non_exhaustive()
    }
}
