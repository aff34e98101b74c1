//! An SDK for an API: a small HTTP client of its own, with requestforge for the tokens.
//!
//! ```sh
//! cargo run -p forge-examples --bin sdk
//! ```
//!
//! The author of an SDK writes a file like this one. `demo.rs` tries it against servers on this machine.
//! [`AuthSession`](requestforge::auth::AuthSession) decides which token a request carries, and what a
//! response says of that token. The SDK's own loop sends, fetches and waits as the session says.

#[path = "../../quickstart/chain.rs"]
mod chain;
mod demo;
#[path = "../../quickstart/timeline.rs"]
mod timeline;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use requestforge::auth::{AuthRequest, AuthSessionConfig, ExaminedResponse, NextStep};
use requestforge::http::{HeaderMap, Method};
use requestforge::reqwest::{self, redirect::Policy};
use requestforge::{AuthenticationError, ConfigError, TokenSource};
use serde_json::Value;

/// The SDK's client. A clone is cheap. Its users need not know the source of its tokens.
#[derive(Clone)]
struct Users {
    http: reqwest::Client,
    base_url: String,
    auth: Arc<AuthSessionConfig>,
}

impl Users {
    /// Tokens may come from a manager, or from a function (`token_source_fn`). One token may also serve all
    /// calls (`StaticTokenSource`).
    fn new(base_url: impl Into<String>, tokens: impl TokenSource + 'static) -> Result<Self, UsersError> {
        let base_url = base_url.into();
        // Only the origin of the base URL sees tokens.
        let auth = AuthSessionConfig::with_token_auth(tokens).origin(base_url.as_str()).build()?;
        // `reqwest` would follow redirects below the loop, and the session would not see them. (`no_proxy`,
        // because the example's servers are on this machine and HTTP_PROXY may name a proxy.)
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build()?;
        Ok(Self { http, base_url, auth: Arc::new(auth) })
    }

    async fn user(&self, id: u32) -> Result<Value, UsersError> {
        let request = self.http.get(format!("{}/users/{id}", self.base_url));
        self.call(request, String::new()).await
    }

    async fn rename(&self, id: u32, name: &str) -> Result<Value, UsersError> {
        let request = self.http.put(format!("{}/users/{id}", self.base_url));
        let body = serde_json::json!({ "name": name }).to_string();
        self.call(request.header("content-type", "application/json"), body).await
    }

    /// Sends the request with a token. If the server rejects the token, sends it once more with another one.
    async fn call(&self, request: reqwest::RequestBuilder, body: String) -> Result<Value, UsersError> {
        let request = request.build()?;
        // One session for each call: it remembers which tokens the server has rejected.
        let mut session = self.auth.session();
        let response = loop {
            session.start(request.url());
            let mut headers = request.headers().clone();
            let view = AuthRequest::new(request.method(), request.url(), request.headers());
            // A cached token takes no lock and no wait. Without a token the loop sends nothing.
            while let Some(fetch) = session.add_credentials(&view, &mut headers)? {
                session.supply_token(fetch.run().await?);
            }

            let response =
                self.send(request.method().clone(), request.url().as_str(), headers, &body).await?;
            let examined = ExaminedResponse::new(response.status(), response.headers());
            // The session remembers an accepted token, so that the next rejection causes a renewal at once.
            let NextStep::Renew(schedule) = session.after_response(&examined) else { break response };

            tokio::time::sleep(schedule.delay_before_renewal()).await;
            let Some(renewal) = session.renewal() else { break response };
            // All calls with this token share one renewal.
            let renewed = renewal.run().await?;
            if !session.record_renewal(renewed) {
                break response;
            }
            tokio::time::sleep(schedule.delay_before_replay()).await;
        };
        Ok(serde_json::from_slice(&response.error_for_status()?.bytes().await?)?)
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: &str,
    ) -> Result<reqwest::Response, reqwest::Error> {
        self.http.request(method, url).headers(headers).body(body.to_owned()).send().await
    }
}

/// The SDK's error.
#[derive(Debug)]
enum UsersError {
    /// The base URL is invalid.
    Config(ConfigError),
    /// The token source got no token.
    Authentication(AuthenticationError),
    /// No response, or one with an error status.
    Http(reqwest::Error),
    Json(serde_json::Error),
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config(_) => "invalid configuration",
            Self::Authentication(_) => "authentication failed",
            Self::Http(_) => "the request to the users API failed",
            Self::Json(_) => "the response is not a user",
        })
    }
}

impl Error for UsersError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Authentication(error) => Some(error),
            Self::Http(error) => Some(error),
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

impl From<ConfigError> for UsersError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
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
