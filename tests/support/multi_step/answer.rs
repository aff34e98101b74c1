use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::call::{Call, header};
use super::{Settings, SharedState, Step};
use crate::server::{authorization, lock};

const SESSION: &str = "x-session-id";

/// The answer of one of the token calls.
pub(super) async fn hand_out(
    step: Step,
    State(shared): State<Arc<SharedState>>,
    request: Request,
) -> Response {
    let endpoint = shared.endpoint(step);
    endpoint.calls.fetch_add(1, Ordering::SeqCst);
    let _under_way = UnderWay::new(&shared);
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let delay = endpoint.settings().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    shared.holds.pass(step.name()).await;

    let settings = endpoint.settings();
    let call = Call::read(&head, &body);
    let verdict = match settings.failing {
        Some(status) => Err((status, "temporarily_unavailable")),
        None => shared.check(step, &call),
    };
    match verdict {
        Ok(()) => shared.token(step, &settings),
        Err((status, error)) => {
            if status == StatusCode::UNAUTHORIZED && settings.failing.is_none() {
                endpoint.refused.fetch_add(1, Ordering::SeqCst);
            }
            let description = if settings.echoing { call.echo() } else { "Refused.".to_owned() };
            let body = Json(json!({ "error": error, "error_description": description }));
            let mut response = (status, body).into_response();
            if let Some(seconds) = settings.retry_after.filter(|_| settings.failing.is_some()) {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}

/// The answer of the API.
pub(super) async fn api(State(shared): State<Arc<SharedState>>, request: Request) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let (headers, path) = (request.headers(), request.uri().path());
    let bearer = authorization(headers, "Bearer");
    let (step, credential) = if path == "/user" || path.starts_with("/user/") {
        (Step::User, bearer)
    } else {
        (Step::Session, header(headers, SESSION).or(bearer))
    };
    if credential.is_some_and(|credential| shared.endpoint(step).tokens.is_valid(credential)) {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        Json(json!({ "path": path })).into_response()
    } else {
        shared.rejected.fetch_add(1, Ordering::SeqCst);
        let challenge = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
        (StatusCode::UNAUTHORIZED, challenge, Json(json!({ "error": "invalid_token" }))).into_response()
    }
}

impl SharedState {
    /// The fault of a call, if it has one.
    fn check(&self, step: Step, call: &Call<'_>) -> Result<(), (StatusCode, &'static str)> {
        if !call.is_readable() || (step == Step::App && !call.is_form()) {
            return Err((StatusCode::BAD_REQUEST, "invalid_request"));
        }
        let wants = *lock(&self.wants);
        let is_valid = |step: Step, token: Option<&str>| {
            token.is_some_and(|token| self.endpoint(step).tokens.is_valid(token))
        };
        // If a call carries a token that the step does not need, the token must be good all the same.
        let is_carried = |step: Step, name: &str, is_wanted: bool| {
            let token = call.header(name);
            (token.is_none() && !is_wanted) || is_valid(step, token)
        };
        let refusal = match step {
            Step::App if call.field("grant_type") != Some("client_credentials") => {
                return Err((StatusCode::BAD_REQUEST, "unsupported_grant_type"));
            }
            Step::App if !call.is_from(["client_id", "client_secret"], &self.client) => "invalid_client",
            Step::Device if !call.is_from(["device_id", "device_key"], &self.device) => "invalid_client",
            Step::User if !is_carried(Step::App, "x-app-token", wants.app_token) => "invalid_token",
            Step::User if !is_carried(Step::Device, "x-device-token", wants.device_token) => "invalid_token",
            Step::User if !call.is_from(["username", "password"], &self.user) => "invalid_grant",
            Step::Session if !is_valid(Step::User, call.bearer()) => "invalid_token",
            _ => return Ok(()),
        };
        Err((StatusCode::UNAUTHORIZED, refusal))
    }

    fn token(&self, step: Step, settings: &Settings) -> Response {
        let token = self.endpoint(step).tokens.issue(settings.lifetime);
        let body = match &settings.shape {
            Some(shape) => shape(&token),
            None => usual(step, &token, settings),
        };
        let mut response = ([(CACHE_CONTROL, "no-store")], Json(body)).into_response();
        if step == Step::Session
            && let Ok(id) = HeaderValue::try_from(token)
        {
            response.headers_mut().insert(SESSION, id);
        }
        response
    }
}

fn usual(step: Step, token: &str, settings: &Settings) -> Value {
    let mut body = Map::new();
    if step != Step::Session {
        body.insert("access_token".into(), token.into());
        body.insert("token_type".into(), "Bearer".into());
    }
    if let Some(lifetime) = settings.lifetime {
        body.insert("expires_in".into(), lifetime.as_secs().into());
    }
    body.into()
}

/// Counts one call that is under way until it is dropped, also if the client goes away.
struct UnderWay<'s>(&'s SharedState);

impl<'s> UnderWay<'s> {
    fn new(shared: &'s SharedState) -> Self {
        let now = shared.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_at_once.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
