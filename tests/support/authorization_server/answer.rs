use std::sync::atomic::Ordering;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use serde_json::{Map, Value, json};

use super::SharedState;
use super::call::TokenCall;

/// The error answers of RFC 6749 5.2.
pub(super) struct Refusal {
    error: &'static str,
    description: &'static str,
    challenged: bool,
}

impl Refusal {
    pub(super) fn invalid_request(description: &'static str) -> Self {
        Self::new("invalid_request", description)
    }

    fn new(error: &'static str, description: &'static str) -> Self {
        Self { error, description, challenged: false }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = Json(json!({ "error": self.error, "error_description": self.description }));
        let challenge = self.challenged.then_some([(WWW_AUTHENTICATE, "Basic realm=\"token\"")]);
        match challenge {
            Some(challenge) => (status, challenge, body).into_response(),
            None => (status, body).into_response(),
        }
    }
}

impl SharedState {
    /// The answer to a call: a token, if the caller is allowed to have one.
    pub(super) fn grant(&self, call: &TokenCall) -> Result<impl IntoResponse + use<>, Refusal> {
        let settings = self.settings();
        if !call.is_from(&self.client_id, &self.client_secret) {
            return Err(Refusal {
                challenged: call.by_header,
                ..Refusal::new("invalid_client", "The client is unknown, or its secret is wrong.")
            });
        }
        match call.grant_type() {
            Some("client_credentials") => {}
            Some("password") => self.check_user(call)?,
            Some("refresh_token") => self.check_refresh_token(call, settings.refresh_tokens)?,
            Some(_) => return Err(Refusal::new("unsupported_grant_type", "This grant is not offered here.")),
            None => return Err(Refusal::invalid_request("grant_type is missing.")),
        }

        let mut answer = Map::new();
        answer.insert("access_token".into(), self.tokens.issue(settings.lifetime).into());
        answer.insert("token_type".into(), "Bearer".into());
        if let Some(lifetime) = settings.lifetime {
            answer.insert("expires_in".into(), lifetime.as_secs().into());
        }
        if settings.refresh_tokens {
            answer.insert("refresh_token".into(), self.tokens.issue_refresh_token().into());
        }
        if let Some(scope) = call.field("scope") {
            answer.insert("scope".into(), scope.into());
        }
        self.issued.fetch_add(1, Ordering::SeqCst);
        Ok(([(CACHE_CONTROL, "no-store")], Json(Value::Object(answer))))
    }

    fn check_user(&self, call: &TokenCall) -> Result<(), Refusal> {
        match (call.field("username"), call.field("password")) {
            (Some(name), Some(word)) if name == self.username && word == self.password => Ok(()),
            (Some(_), Some(_)) => {
                Err(Refusal::new("invalid_grant", "The user is unknown, or the password is wrong."))
            }
            _ => Err(Refusal::invalid_request("username or password is missing.")),
        }
    }

    fn check_refresh_token(&self, call: &TokenCall, rotates: bool) -> Result<(), Refusal> {
        match call.field("refresh_token") {
            Some(token) if self.tokens.accept_refresh_token(token, rotates) => Ok(()),
            Some(_) => Err(Refusal::new("invalid_grant", "The refresh token is unknown, spent or revoked.")),
            None => Err(Refusal::invalid_request("refresh_token is missing.")),
        }
    }
}
