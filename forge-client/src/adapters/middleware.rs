//! Authentication for [`reqwest_middleware`].

use std::fmt;
use std::sync::{Arc, LazyLock};

use forge_core::{AuthVerdict, ConfigError, async_trait};
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next};
use url::Url;

use super::{add_credentials, decide_replay, pause};
use crate::ExaminedResponse;
use crate::auth::{Auth, AuthRequest, AuthSessionConfig, AuthSessionConfigBuilder, TokenAuth};
use crate::body::{MAX_EXAMINED, peek};

/// Authenticates the requests of a [`ClientWithMiddleware`](reqwest_middleware::ClientWithMiddleware) at
/// origins that are expressly named: attaches a token, has it renewed when it is rejected, and replays.
///
/// ```
/// use forge_client::{AuthMiddleware, TokenAuth, reqwest, reqwest_middleware};
/// # fn run(manager: impl forge_core::TokenSource + 'static) -> Result<(), Box<dyn std::error::Error>> {
/// let auth = AuthMiddleware::with_token_auth(TokenAuth::new(manager).excluded_paths(["/health"]))
///     .origin("https://api.example.com")
///     .build()?;
/// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let client = reqwest_middleware::ClientBuilder::new(http).with(auth).build();
/// # Ok(())
/// # }
/// ```
///
/// - A request to any other origin is passed on as it is, and so is a header that the caller has set. Such a
///   header also wins over those of the client's own `default_headers`, which reqwest adds last.
/// - After a rejection the token is renewed, once for all who were rejected with it, and the request is sent
///   once more, or as the [strategy](TokenAuth::auth_retry_strategy) has it. A body that
///   [`Request::try_clone`] cannot copy is sent once; the token is renewed all the same.
/// - A strategy that looks into bodies waits for that of a rejection as long as the time-outs of the client have
///   it, and a reqwest client has none unless it is told.
/// - If no token can be had nothing is sent. The error is a [`reqwest_middleware::Error::Middleware`] that
///   holds an [`AuthenticationError`](forge_core::AuthenticationError): `error.downcast_ref()` has it.
/// - Add it after a middleware that retries, so that each retry has a token that is good then.
///
/// # Redirects
///
/// Redirects never reach a middleware: reqwest follows them below it. So what is promised of origins holds
/// **for the first request only**, unless the client follows none (`redirect(Policy::none())`, as above). When
/// reqwest follows a redirect to another host, it takes `Authorization` away, but a header of another name
/// ([`auth_header_name`](TokenAuth::auth_header_name), an API key) goes along. What the other host answers is
/// handed on: its 401 renews nothing. [`HttpClient`](crate::HttpClient) follows redirects itself, and has no such
/// limits.
#[derive(Clone)]
pub struct AuthMiddleware(Arc<AuthSessionConfig>);

/// Collects the settings of an [`AuthMiddleware`].
#[derive(Debug)]
#[must_use]
pub struct AuthMiddlewareBuilder(AuthSessionConfigBuilder);

impl AuthMiddleware {
    /// Tokens from a source: a [`TokenAuth`] with settings, or just the source: a `TokenManager`, any other
    /// [`TokenSource`](forge_core::TokenSource), or a provider.
    pub fn with_token_auth(auth: impl Into<TokenAuth>) -> AuthMiddlewareBuilder {
        Self::with_auth(auth.into())
    }

    /// Authentication of any kind, as
    /// [`with_auth`](crate::HttpClientConfigBuilder::with_auth) takes it.
    pub fn with_auth(auth: impl Into<Auth>) -> AuthMiddlewareBuilder {
        AuthMiddlewareBuilder(AuthSessionConfig::with_auth(auth))
    }

    /// The former name of [`with_auth`](Self::with_auth).
    #[deprecated(note = "renamed to `with_auth`")]
    pub fn with_auth_hook(auth: impl Into<Auth>) -> AuthMiddlewareBuilder {
        Self::with_auth(auth)
    }
}

impl AuthMiddlewareBuilder {
    /// An origin (scheme, host, port of this URL) that may see the credentials. At least one is needed.
    pub fn origin(mut self, url: impl Into<String>) -> Self {
        self.0 = self.0.origin(url);
        self
    }

    /// Accepts that the credentials go over plain `http` to other machines, so that anybody on the network path
    /// can read them. The setting only silences the warning that [`build`](Self::build) logs.
    pub fn plain_http_credentials(mut self) -> Self {
        self.0 = self.0.plain_http_credentials();
        self
    }

    /// The middleware.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be; no origin was named, for example.
    pub fn build(self) -> Result<AuthMiddleware, ConfigError> {
        Ok(AuthMiddleware(Arc::new(self.0.build()?)))
    }
}

#[async_trait]
impl Middleware for AuthMiddleware {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let Some(origin) = self.0.origins.iter().find(|origin| origin.contains(request.url())) else {
            return next.run(request, extensions).await;
        };
        let mut session = self.0.session();
        loop {
            session.start(request.url());
            let mut headers = request.headers().clone();
            let added = add_credentials(&mut session, &auth_request(&request), &mut headers).await;
            added.map_err(Error::middleware)?;
            let spare = if session.carries_token() { request.try_clone() } else { None };
            *request.headers_mut() = headers;
            let mut response = next.clone().run(request, extensions).await?;
            if !origin.contains(response.url()) && response.url() != &*UNKNOWN {
                // Of another one behind a redirect, which says nothing of the credential.
                return Ok(response);
            }

            let mut body = None;
            if session.reads_body(response.status(), response.headers()) {
                let peeked = peek(response, MAX_EXAMINED, None).await;
                (response, body) = (peeked.response, peeked.body);
            }
            let verdict = AuthVerdict::of(response.status(), response.headers());
            let examined = ExaminedResponse::of(&response, body.as_deref());
            let replay = decide_replay(&mut session, verdict, &examined, spare.is_some()).await;
            let (Some(delay), Some(spare)) = (replay.map_err(Error::middleware)?, spare) else {
                return Ok(response);
            };
            drop(response);
            pause(delay).await;
            request = spare;
        }
    }
}

/// What reqwest says of an answer that did not come from it: from a cache, say.
static UNKNOWN: LazyLock<Url> = LazyLock::new(|| Response::from(http::Response::new("")).url().clone());

fn auth_request(request: &Request) -> AuthRequest<'_> {
    let body = request.body().map_or(Some(&[][..]), reqwest::Body::as_bytes);
    AuthRequest::new(request.method(), request.url(), request.headers()).with_body(body)
}

impl fmt::Debug for AuthMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthMiddleware").field("origins", &self.0.origins).finish_non_exhaustive()
    }
}
