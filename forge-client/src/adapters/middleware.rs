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
use crate::auth::{Auth, AuthRequest, AuthSessionConfig, AuthSessionConfigBuilder, IntoTokenAuth};
use crate::body::{MAX_EXAMINED, peek};

/// Authenticates the requests of a [`ClientWithMiddleware`](reqwest_middleware::ClientWithMiddleware). At the named
/// origins the middleware adds a token to each request, has it renewed after a rejection, and replays the request.
///
/// ```
/// use requestforge::middleware::{AuthMiddleware, reqwest_middleware};
/// use requestforge::{TokenAuth, reqwest};
/// # fn run(manager: impl requestforge::TokenSource + 'static) -> Result<(), Box<dyn std::error::Error>> {
/// let auth = AuthMiddleware::with_token_auth(TokenAuth::new(manager).excluded_paths(["/health"]))
///     .origin("https://api.example.com")
///     .build()?;
/// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let client = reqwest_middleware::ClientBuilder::new(http).with(auth).build();
/// # Ok(())
/// # }
/// ```
///
/// - The middleware does not change requests to other origins, and no header that the caller has set. Such a
///   header also wins over the client's own `default_headers`, which reqwest adds last.
/// - After a rejection all requests with the same token share one renewal. The middleware then sends the
///   request once more, or as the [strategy](crate::TokenAuth::auth_retry_strategy) says. If
///   [`Request::try_clone`] cannot copy the body, it sends the request once. It renews the token all the same.
/// - If the strategy reads bodies, the middleware waits for the body of a rejection, as long as the time-outs
///   of the client allow. A reqwest client has no time-outs by default.
/// - Without a token the middleware sends nothing. The error is a [`reqwest_middleware::Error::Middleware`]
///   that holds an [`AuthenticationError`](forge_core::AuthenticationError), which `error.downcast_ref()`
///   returns.
/// - Add the middleware after one that retries, so that each retry has a valid token.
///
/// # Redirects
///
/// A middleware never sees redirects: reqwest follows them below it. So the promises about origins hold **for
/// the first request only**, unless the client follows no redirects (`redirect(Policy::none())`, as above).
/// When reqwest follows a redirect to another host, it removes `Authorization`, but not a header of another
/// name ([`auth_header_name`](crate::TokenAuth::auth_header_name), an API key). The caller gets the response of
/// the other host; its 401 renews nothing. [`HttpClient`](crate::HttpClient) follows redirects itself, and has
/// no such limits.
#[derive(Clone)]
pub struct AuthMiddleware(Arc<AuthSessionConfig>);

/// Collects the settings of an [`AuthMiddleware`].
#[derive(Debug)]
#[must_use]
pub struct AuthMiddlewareBuilder(AuthSessionConfigBuilder);

impl AuthMiddleware {
    /// Authenticates with tokens from a source: a [`TokenAuth`](crate::TokenAuth) with settings, or only the source.
    pub fn with_token_auth(auth: impl IntoTokenAuth) -> AuthMiddlewareBuilder {
        Self::with_auth(auth.into_token_auth())
    }

    /// Authenticates in any way that [`with_auth`](crate::HttpClientConfigBuilder::with_auth) takes.
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
    /// Names an origin (scheme, host, port of this URL) that may see the credentials. At least one is needed.
    pub fn origin(mut self, url: impl Into<String>) -> Self {
        self.0 = self.0.origin(url);
        self
    }

    /// Accepts that the credentials go over plain `http` to other machines, so that others on the network path
    /// can read them. The setting only silences the warning that [`build`](Self::build) logs.
    pub fn plain_http_credentials(mut self) -> Self {
        self.0 = self.0.plain_http_credentials();
        self
    }

    /// Builds the middleware.
    ///
    /// # Errors
    ///
    /// Names the invalid setting, for example that no origin was named.
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
                // Another origin behind a redirect sent the response, so it is no verdict on the credential.
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

/// The URL of a response that reqwest has not received itself, but a cache for example.
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
