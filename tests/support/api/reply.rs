use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::{Settings, SharedState};
use crate::server::{authorization, lock};

pub(super) async fn reply(State(shared): State<Arc<SharedState>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let verdict = shared.receive(&head);
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let delay = shared.settings().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match verdict {
        Verdict::Rejected => {
            if let Some(id) = request_id(&head) {
                shared.holds.pass(id).await;
            }
            challenge(shared.settings().challenge)
        }
        Verdict::Accepted if head.uri.path() == "/redirect" => redirect(&head),
        Verdict::Accepted if head.uri.path() == "/echo" => echo(&head, &body),
        Verdict::Accepted | Verdict::Open => Json(json!({ "path": head.uri.path() })).into_response(),
    }
}

enum Verdict {
    Open,
    Accepted,
    Rejected,
}

impl SharedState {
    fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    fn receive(&self, head: &Parts) -> Verdict {
        let counts = &self.counts;
        counts.requests.fetch_add(1, Ordering::SeqCst);
        let token = authorization(&head.headers, "Bearer");
        let settings = self.settings();
        let mut is_too_early = false;
        {
            let mut seen = lock(&self.seen);
            if let Some(id) = request_id(head) {
                *seen.sends.entry(id.to_owned()).or_default() += 1;
            }
            if let Some(token) = token {
                let before = seen.tokens.len();
                is_too_early =
                    *seen.tokens.entry(token.to_owned()).or_insert(before) < settings.rejected_first;
            }
        }
        if is_open(head.uri.path()) {
            counts.open.fetch_add(1, Ordering::SeqCst);
            if head.headers.contains_key(AUTHORIZATION) {
                counts.open_with_credentials.fetch_add(1, Ordering::SeqCst);
            }
            Verdict::Open
        } else if token.is_some_and(|token| self.tokens.is_valid(token))
            && !settings.always_reject
            && !is_too_early
        {
            counts.accepted.fetch_add(1, Ordering::SeqCst);
            Verdict::Accepted
        } else {
            counts.rejected.fetch_add(1, Ordering::SeqCst);
            Verdict::Rejected
        }
    }
}

fn request_id(head: &Parts) -> Option<&str> {
    head.headers.get("x-request-id")?.to_str().ok()
}

fn is_open(path: &str) -> bool {
    ["/health", "/public"].iter().any(|open| {
        path.strip_prefix(open).is_some_and(|beneath| beneath.is_empty() || beneath.starts_with('/'))
    })
}

fn challenge(challenge: Option<HeaderValue>) -> Response {
    let body = Json(json!({ "error": "invalid_token" }));
    let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn redirect(head: &Parts) -> Response {
    let query: HashMap<String, String> =
        serde_urlencoded::from_str(head.uri.query().unwrap_or_default()).unwrap_or_default();
    let status = query.get("status").map_or("302", String::as_str).parse::<StatusCode>();
    let to = query.get("to").and_then(|to| HeaderValue::try_from(to).ok());
    match (status, to) {
        (Ok(status), Some(to)) if status.is_redirection() => (status, [(LOCATION, to)]).into_response(),
        _ => (StatusCode::BAD_REQUEST, "wanted: /redirect?to=<URL>&status=<3xx>").into_response(),
    }
}

fn echo(head: &Parts, body: &[u8]) -> Response {
    Json(json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": head.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
        "body": String::from_utf8_lossy(body),
    }))
    .into_response()
}
