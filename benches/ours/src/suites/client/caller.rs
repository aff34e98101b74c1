//! The callers: our client, and reqwest as a program without requestforge uses it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use requestforge::{CircuitBreaker, HttpClient, Logging, TokenManager};
use reqwest::Request;
use url::Url;

use crate::Result;
use crate::local::{Local, text};

/// Our client with token auth, and nothing else.
pub(crate) const OURS: &str = "client";
/// The same with retries, a breaker and logging. No retry occurs, the breaker stays closed, and no
/// subscriber reads the log.
pub(crate) const EQUIPPED: &str = "client_equipped";
/// `get(str)` with `bearer_auth`.
pub(crate) const BEARER: &str = "reqwest_bearer";
/// reqwest with the least possible work: a parsed URL, and a token that may change.
pub(crate) const EXECUTE: &str = "reqwest_execute";

const PATH: &str = "/users/7";
/// All callers have the default time-outs of our client.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As long as the `User-Agent` of our client, so that all callers send as many bytes.
const USER_AGENT: &str = "plain-reqwest/0.1.0";

#[derive(Clone)]
pub(crate) enum Caller {
    Ours(HttpClient),
    Bearer { client: reqwest::Client, url: String, token: String },
    Execute { client: reqwest::Client, url: Url, token: Arc<ArcSwap<HeaderValue>> },
}

impl Caller {
    /// The caller for the case with this name.
    pub(crate) fn new(case: &str, base_url: &str) -> Result<Self> {
        let url = format!("{base_url}{PATH}");
        match case {
            OURS => {
                let client = HttpClient::builder(base_url).with_token_auth(TokenManager::new(Local));
                Ok(Self::Ours(client.build()?))
            }
            EQUIPPED => {
                let client = HttpClient::builder(base_url)
                    .with_token_auth(TokenManager::new(Local))
                    .with_retry(3)
                    .with_circuit_breaker(CircuitBreaker::builder().build()?)
                    .with_logging(Logging::new());
                Ok(Self::Ours(client.build()?))
            }
            BEARER => Ok(Self::Bearer { client: plain()?, url, token: text() }),
            EXECUTE => {
                let mut token = HeaderValue::from_str(&format!("Bearer {}", text()))?;
                token.set_sensitive(true);
                let token = Arc::new(ArcSwap::from_pointee(token));
                Ok(Self::Execute { client: plain()?, url: url.parse()?, token })
            }
            _ => Err(format!("there is no case `{case}`").into()),
        }
    }

    /// Sends one request, and reads its whole response.
    pub(crate) async fn call(&self) -> Result<()> {
        match self {
            Self::Ours(client) => {
                let response = client.get(PATH).send().await?.error_for_status()?;
                response.bytes().await?;
            }
            Self::Bearer { client, url, token } => {
                let response = client.get(url).bearer_auth(token).send().await?.error_for_status()?;
                response.bytes().await?;
            }
            Self::Execute { client, url, token } => {
                let mut request = Request::new(Method::GET, url.clone());
                request.headers_mut().insert(AUTHORIZATION, HeaderValue::clone(&token.load()));
                let response = client.execute(request).await?.error_for_status()?;
                response.bytes().await?;
            }
        }
        Ok(())
    }
}

fn plain() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(USER_AGENT)
        .build()
}
