//! Who sends requests: our client, and reqwest as one would use it without us.

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
/// The same with retries, breaker and logging, of which nothing has to act and nobody listens.
pub(crate) const EQUIPPED: &str = "client_equipped";
/// `get(str)` with `bearer_auth`.
pub(crate) const BEARER: &str = "reqwest_bearer";
/// What cannot be done without: a URL that is parsed, a token that may change.
pub(crate) const EXECUTE: &str = "reqwest_execute";

const PATH: &str = "/users/7";
/// Our client's defaults, for all.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As long as that of our client, which sends one: all send the same.
const USER_AGENT: &str = "plain-reqwest/0.1.0";

#[derive(Clone)]
pub(crate) enum Caller {
    Ours(HttpClient),
    Bearer { client: reqwest::Client, url: String, token: String },
    Execute { client: reqwest::Client, url: Url, token: Arc<ArcSwap<HeaderValue>> },
}

impl Caller {
    /// By the name of the case.
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

    /// One request, and its whole answer.
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
