//! An SDK for somebody's API: a small client of its own, with the token part from here.
//!
//! ```sh
//! cargo run -p forge-examples --bin sdk
//! ```
//!
//! What an SDK's author would write is in this file; `demo.rs` tries it against servers on this machine.
//! It takes three pieces: a [`TokenSource`] gives a credential, [`Credential::apply_to`] puts it on a request,
//! and [`AuthVerdict`] says what the answer means for it.

#[path = "../../quickstart/chain.rs"]
mod chain;
mod demo;
#[path = "../../quickstart/timeline.rs"]
mod timeline;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use http::request::Parts;
use requestforge::auth::AuthVerdict;
use requestforge::reqwest::{self, redirect::Policy};
use requestforge::{AuthenticationError, Credential, TokenSource};
use serde_json::Value;

/// The SDK's client. Cheap to clone; who uses it need not know where its tokens come from.
#[derive(Clone)]
struct Users {
    http: reqwest::Client,
    base_url: String,
    tokens: Arc<dyn TokenSource>,
}

impl Users {
    /// Tokens may come from a manager, from elsewhere (`token_source_fn`), or be one that never changes
    /// (`StaticTokenSource`).
    fn new(base_url: impl Into<String>, tokens: impl TokenSource + 'static) -> Result<Self, UsersError> {
        // Tokens are the base URL's business only, so no redirect is followed. (`no_proxy` since the example's
        // servers are on this machine, whatever HTTP_PROXY says.)
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build()?;
        Ok(Self { http, base_url: base_url.into(), tokens: Arc::new(tokens) })
    }

    async fn user(&self, id: u32) -> Result<Value, UsersError> {
        let request = http::Request::get(format!("{}/users/{id}", self.base_url));
        self.call(request, String::new()).await
    }

    async fn rename(&self, id: u32, name: &str) -> Result<Value, UsersError> {
        let request = http::Request::put(format!("{}/users/{id}", self.base_url))
            .header("content-type", "application/json");
        self.call(request, serde_json::json!({ "name": name }).to_string()).await
    }

    /// Sends with a token, and once more with another one if that was rejected.
    async fn call(&self, request: http::request::Builder, body: String) -> Result<Value, UsersError> {
        let (request, ()) = request.body(())?.into_parts();
        // At hand as a rule: no lock, no waiting. Without a token nothing is sent.
        let mut credential = match self.tokens.cached() {
            Some(credential) => credential,
            None => self.tokens.get_token().await?,
        };
        let mut response = self.send(&request, &body, &credential).await?;
        if AuthVerdict::of(response.status(), response.headers()) == AuthVerdict::TokenRejected
            // One renewal for all whose token this was; `None`: no other is to be had now.
            && let Some(another) = self.tokens.refresh_rejected(&credential).await?
        {
            credential = another;
            response = self.send(&request, &body, &credential).await?;
        }
        if AuthVerdict::of(response.status(), response.headers()) == AuthVerdict::Accepted {
            // So that the next rejection is worth a renewal at once.
            credential.mark_accepted();
        }
        Ok(serde_json::from_slice(&response.error_for_status()?.bytes().await?)?)
    }

    async fn send(
        &self,
        request: &Parts,
        body: &str,
        credential: &Credential,
    ) -> Result<reqwest::Response, UsersError> {
        let mut request = request.clone();
        credential.apply_to(&mut request)?;
        let request = http::Request::from_parts(request, body.to_owned());
        Ok(self.http.execute(request.try_into()?).await?)
    }
}

/// The SDK's error.
#[derive(Debug)]
enum UsersError {
    /// No token could be had.
    Authentication(AuthenticationError),
    /// No answer, or one with an error status.
    Http(reqwest::Error),
    Request(http::Error),
    Json(serde_json::Error),
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication(_) => "authentication failed",
            Self::Http(_) => "the users API did not answer well",
            Self::Request(_) => "there is no such request",
            Self::Json(_) => "the answer is no user",
        })
    }
}

impl Error for UsersError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Authentication(error) => Some(error),
            Self::Http(error) => Some(error),
            Self::Request(error) => Some(error),
            Self::Json(error) => Some(error),
        }
    }
}

impl From<AuthenticationError> for UsersError {
    fn from(error: AuthenticationError) -> Self {
        Self::Authentication(error)
    }
}

impl From<reqwest::Error> for UsersError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error)
    }
}

impl From<http::Error> for UsersError {
    fn from(error: http::Error) -> Self {
        Self::Request(error)
    }
}

impl From<serde_json::Error> for UsersError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match demo::run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", chain::Chain(&*error));
            ExitCode::FAILURE
        }
    }
}
