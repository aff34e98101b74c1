use std::fmt;
use std::sync::Arc;

use forge_core::{AuthVerdict, AuthenticationError, Credential, TokenId};
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::chosen_parts::ChosenParts;
use super::plan::{AuthPart, AuthPlan, apply_hook};
use super::replay::ReplaySchedule;
use super::token_call::{TokenFetch, TokenRenewal};
use super::{AuthRequest, AuthSessionConfig, CheckedTokenAuth};
use crate::ExaminedResponse;
use crate::origin::Origin;

/// The authentication of one call, for HTTP clients that have a loop of their own: which credential a request
/// carries, and what a response says of that credential.
///
/// A session does no I/O and does not sleep. It decides; the loop fetches, sends and waits as the session says.
/// [`HttpClient`](crate::HttpClient), `AuthMiddleware` (feature `middleware`) and
/// `AuthLayer` (feature `tower`) drive the same session, so they keep the same promises:
///
/// - Only the origins of the [configuration](AuthSessionConfig) see credentials. A session that has been at another
///   origin adds none any more, since a redirect chain does not get back what it has lost.
/// - A header that the caller has set stays as it is.
/// - After a response that rejects the token, all calls with that token share one renewal. No token is sent again
///   after a rejection.
///
/// The methods in the order of an attempt:
///
/// | method | what happens |
/// | --- | --- |
/// | [`start`](Self::start) | An attempt begins at a URL. |
/// | [`add_credentials`](Self::add_credentials) | The session chooses the credentials for the request and adds them to its headers. If a token is missing, the loop runs the [`TokenFetch`] and gives its result to [`supply_token`](Self::supply_token). |
/// | [`after_response`](Self::after_response), [`after_verdict`](Self::after_verdict) | The session takes the verdict of the response, and says what comes [next](NextStep). |
/// | [`renewal`](Self::renewal) | After [`NextStep::Renew`] the loop runs the renewal of the rejected token and gives its result to [`record_renewal`](Self::record_renewal), which says whether to begin another attempt. |
///
/// The loop itself decides whether it can send a request again. If it cannot, it renews the token all the same, so
/// that the next call gets another one, and returns the response.
///
/// # A whole loop
///
/// ```
/// use std::time::Duration;
///
/// use requestforge::auth::{AuthRequest, AuthSessionConfig, ExaminedResponse, NextStep};
/// use requestforge::TokenAuth;
/// use requestforge::{TokenData, token_source_fn};
///
/// /// Your own client. This one plays the server, too: it rejects the first token.
/// async fn send(request: http::Request<&str>) -> http::Response<String> {
///     let is_rejected = request.headers()["authorization"] == "Bearer token-1";
///     http::Response::builder().status(if is_rejected { 401 } else { 200 }).body(String::new()).unwrap()
/// }
///
/// async fn call(
///     config: &AuthSessionConfig,
///     request: http::Request<&'static str>,
/// ) -> Result<http::Response<String>, Box<dyn std::error::Error>> {
///     let url = request.uri().to_string().parse()?;
///     let mut session = config.session();
///     loop {
///         let mut attempt = request.clone();
///         session.start(&url);
///         let view = AuthRequest::new(request.method(), &url, request.headers());
///         while let Some(fetch) = session.add_credentials(&view, attempt.headers_mut())? {
///             session.supply_token(fetch.run().await?);
///         }
///
///         let response = send(attempt).await;
///         let examined = ExaminedResponse::new(response.status(), response.headers());
///         let NextStep::Renew(schedule) = session.after_response(&examined) else { return Ok(response) };
///
///         sleep(schedule.delay_before_renewal()).await;
///         let Some(renewal) = session.renewal() else { return Ok(response) };
///         let renewed = renewal.run().await?;
///         if !session.record_renewal(renewed) {
///             return Ok(response);
///         }
///         sleep(schedule.delay_before_replay()).await;
///     }
/// }
/// # async fn sleep(_: Duration) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(1));
/// # let next_token = move || format!("token-{}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
/// let tokens = token_source_fn(move || {
///     let token = next_token();
///     async move { Ok(TokenData::new(token)) }
/// });
/// let config = AuthSessionConfig::with_token_auth(TokenAuth::new(tokens))
///     .origin("https://api.example.com")
///     .build()?;
/// let response = call(&config, http::Request::get("https://api.example.com/users").body("")?).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
pub struct AuthSession<'a> {
    plan: &'a AuthPlan,
    origins: &'a [Origin],
    /// Whether this attempt and all before it go to origins that may see credentials.
    is_trusted: bool,
    /// Whether the call still has to fetch a new token.
    force_renewal: bool,
    /// The parts that [`add_credentials`](Self::add_credentials) is adding, while it waits for a token.
    chosen: Option<ChosenParts<'a>>,
    /// The credential that the attempt carries.
    sent: Option<Arc<Credential>>,
    /// The token authentication that the session used last. The three fields below describe its tokens.
    tokens: Option<&'a CheckedTokenAuth>,
    /// How many replays the session has decided on.
    replays: u32,
    /// The tokens that the server has rejected.
    rejected: Vec<TokenId>,
    /// The credential that the last renewal returned, until the next attempt takes it.
    next_credential: Option<Arc<Credential>>,
}

/// The next step of the loop after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextStep {
    /// Return the response to the caller.
    Done,
    /// Run the [renewal](AuthSession::renewal) of the rejected token. If
    /// [`record_renewal`](AuthSession::record_renewal) then returns `true`, and the request can be sent again, begin
    /// another attempt; else return the response. The schedule says when.
    Renew(ReplaySchedule),
}

impl<'a> AuthSession<'a> {
    /// Begins the session of one call.
    #[must_use]
    pub fn new(config: &'a AuthSessionConfig) -> Self {
        Self { origins: &config.origins, ..Self::with_plan(&config.plan, false) }
    }

    /// The session of a call whose loop decides about origins itself: see [`start_at`](Self::start_at).
    pub(crate) fn with_plan(plan: &'a AuthPlan, force_renewal: bool) -> Self {
        Self {
            plan,
            origins: &[],
            is_trusted: true,
            force_renewal,
            chosen: None,
            sent: None,
            tokens: None,
            replays: 0,
            rejected: Vec::new(),
            next_credential: None,
        }
    }

    /// Starts an attempt at this URL: the first one, a replay, a retry, or the next hop of a redirect. The attempt
    /// carries nothing so far.
    pub fn start(&mut self, url: &Url) {
        self.start_at(self.is_trusted && self.origins.iter().any(|origin| origin.contains(url)));
    }

    /// Starts an attempt at an origin that may see credentials, or at another one.
    pub(crate) fn start_at(&mut self, is_trusted: bool) {
        self.is_trusted = is_trusted;
        self.chosen = None;
        self.sent = None;
    }

    /// Chooses what authenticates the request, and adds it to `headers`, the headers to send. `request` has the
    /// caller's own headers: of these, each stays as it is.
    ///
    /// `None`: the headers are complete, so send the request. If a token is missing, returns its fetch. Run the
    /// fetch, [supply](Self::supply_token) the token, and call this method again.
    ///
    /// # Errors
    ///
    /// An [`AuthHook`](crate::AuthHook) failed, or the token fits into no header. The request must not be sent.
    pub fn add_credentials(
        &mut self,
        request: &AuthRequest<'_>,
        headers: &mut HeaderMap,
    ) -> Result<Option<TokenFetch<'a>>, AuthenticationError> {
        if !self.is_trusted {
            return Ok(None);
        }
        let mut chosen = match self.chosen.take() {
            Some(chosen) => chosen,
            None => ChosenParts::of(self.plan, &request.with_headers(headers)),
        };
        while let Some(part) = chosen.next() {
            match part {
                AuthPart::Fixed { name, value, .. } => {
                    if !request.headers.contains_key(name) {
                        headers.insert(name, value.clone());
                    }
                }
                AuthPart::Hook(hook) => {
                    let mut set = apply_hook(&**hook, &request.with_headers(headers))?;
                    for name in request.headers.keys() {
                        set.remove(name);
                    }
                    headers.extend(set);
                }
                AuthPart::Tokens(auth) => {
                    if !request.headers.contains_key(auth.header_name()) {
                        let Some(credential) = self.sent.take().or_else(|| self.cached_credential(auth))
                        else {
                            self.chosen = Some(chosen);
                            return Ok(Some(TokenFetch::new(auth.source(), self.force_renewal)));
                        };
                        auth.apply(&credential, request, headers)?;
                        self.sent = Some(credential);
                    }
                }
            }
            chosen.mark_added();
        }
        Ok(None)
    }

    /// Supplies the token of a [`TokenFetch`] that has succeeded.
    pub fn supply_token(&mut self, token: Arc<Credential>) {
        self.sent = Some(token);
        // Order: only after a success. A call that retries a failed fetch still wants a new token.
        self.force_renewal = false;
    }

    /// Whether the attempt carries a token that the server could reject. If not, no replay follows, and the loop
    /// needs no copy of the request.
    #[must_use]
    pub fn carries_token(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether [`after_response`](Self::after_response) must see the body of a response with this status and these
    /// headers, because the [strategy](crate::AuthRetryStrategy::reads_body) reads it.
    #[must_use]
    pub fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let auth = self.sent.as_ref().and(self.tokens);
        auth.is_some_and(|auth| auth.strategy().reads_body())
            && AuthVerdict::of(status, headers) == AuthVerdict::TokenRejected
    }

    /// Takes a response, whose verdict is [`AuthVerdict::of`] its status and headers, and says what to do next.
    #[must_use]
    pub fn after_response(&self, response: &ExaminedResponse<'_>) -> NextStep {
        self.after_verdict(AuthVerdict::of(response.status, response.headers), response)
    }

    /// Takes a response and a verdict that the loop has found itself, and says what to do next.
    #[must_use]
    pub fn after_verdict(&self, verdict: AuthVerdict, response: &ExaminedResponse<'_>) -> NextStep {
        let (Some(credential), Some(auth)) = (&self.sent, self.tokens) else { return NextStep::Done };
        match verdict {
            AuthVerdict::Accepted => {
                credential.mark_accepted();
                NextStep::Done
            }
            AuthVerdict::TokenRejected => {
                self.schedule(credential, auth, response).map_or(NextStep::Done, NextStep::Renew)
            }
            _ => NextStep::Done,
        }
    }

    /// Before the first replay the source renews the token at once. Before a later one the loop waits first.
    fn schedule(
        &self,
        rejected: &Credential,
        auth: &CheckedTokenAuth,
        response: &ExaminedResponse<'_>,
    ) -> Option<ReplaySchedule> {
        let delay = auth.strategy().delay_before_replay(self.replays + 1, response)?;
        if self.replays == 0 {
            return Some(ReplaySchedule::RenewThenWait(delay));
        }
        ReplaySchedule::of_later_replay(rejected, &self.rejected, delay, auth.source())
    }

    /// The renewal that [`NextStep::Renew`] asks for; `None` if the attempt carries no token. If it fails, the loop
    /// may ask for it once more, or end the call with the error.
    #[must_use]
    pub fn renewal(&self) -> Option<TokenRenewal<'_>> {
        match (&self.sent, self.tokens) {
            (Some(rejected), Some(auth)) => Some(TokenRenewal::new(auth.source(), rejected)),
            _ => None,
        }
    }

    /// Records the result of a [`TokenRenewal`] that has succeeded. Returns whether to begin another attempt: not
    /// if the source has no other token, or one that the server has rejected before.
    pub fn record_renewal(&mut self, renewed: Option<Arc<Credential>>) -> bool {
        let Some(rejected) = self.sent.take() else { return false };
        self.rejected.push(rejected.id());
        self.next_credential = renewed.filter(|renewed| !self.rejected.contains(&renewed.id()));
        self.replays += u32::from(self.next_credential.is_some());
        self.next_credential.is_some()
    }

    /// The credential that the request can carry without a fetch: the one of the last renewal, else the source's
    /// cached one.
    fn cached_credential(&mut self, auth: &'a CheckedTokenAuth) -> Option<Arc<Credential>> {
        if !self.tokens.is_some_and(|last| std::ptr::eq(last, auth)) {
            // A redirect may lead to a path with another token authentication. The records of the last one's tokens
            // do not hold for the tokens of this one.
            self.tokens = Some(auth);
            self.replays = 0;
            self.rejected.clear();
            self.next_credential = None;
        }
        if self.force_renewal { None } else { self.next_credential.take().or_else(|| auth.source().cached()) }
    }
}

/// Methods that only the loop of [`HttpClient`](crate::HttpClient) needs, for hooks and redirects.
impl AuthSession<'_> {
    /// Whether an `AuthHook` of the caller authenticates this call.
    pub(crate) fn has_hook(&self) -> bool {
        self.plan.has_hook()
    }

    /// The header that carries the token of this attempt, if there is one.
    pub(crate) fn credential_header<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        headers.get(self.sent.as_ref().and(self.tokens)?.header_name())
    }

    /// Forgets the token of this attempt. The loop calls this after a hook has replaced the token's header, because
    /// the response is then no verdict on the token.
    pub(crate) fn forget_sent(&mut self) {
        self.sent = None;
    }

    /// Adds once more the headers that authenticated this attempt, except for those that an auth hook set.
    pub(crate) fn add_sent(&self, request: &AuthRequest<'_>, headers: &mut HeaderMap) {
        let mut chosen = ChosenParts::of(self.plan, &request.with_headers(headers));
        while let Some(part) = chosen.next() {
            match (part, &self.sent) {
                (AuthPart::Fixed { name, value, .. }, _) if !request.headers.contains_key(name) => {
                    headers.insert(name, value.clone());
                }
                (AuthPart::Tokens(auth), Some(credential)) => {
                    // `add_credentials` applied the same credential to this request before, so this does not fail.
                    let _ = auth.apply(credential, request, headers);
                }
                _ => {}
            }
            chosen.mark_added();
        }
    }
}

impl fmt::Debug for AuthSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSession")
            .field("is_trusted", &self.is_trusted)
            .field("carries_token", &self.carries_token())
            .field("replays", &self.replays)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
