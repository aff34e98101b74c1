//! The loop: credential, request, answer, and what follows of it.

use std::future::Future;
use std::time::Duration;

use http::{Extensions, HeaderMap};
use reqwest::{Request, Response};
use tokio::time::Instant;

use crate::auth::{CallAuth, CallAuthOptions, Next};
use crate::breaker::{Permit, Verdict};
use crate::client::Inner;
use crate::examined::MAX_EXAMINED;
use crate::hooks::{FailedCall, OutgoingRequest, ReceivedResponse};
use crate::hop::Hop;
use crate::peek::peek;
use crate::redirect::Redirects;
use crate::retry::{IDEMPOTENCY_KEY, RetryOutcome, is_blank};
use crate::{ExaminedResponse, HttpClientError, HttpResponse};

/// What a request says of its call.
#[derive(Default)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) retry_any_method: bool,
    pub(crate) auth: CallAuthOptions,
}

/// Sends one call. Whatever happens on the way, only this loop sleeps.
pub(crate) async fn send(
    client: &Inner,
    hop: Hop,
    mut options: CallOptions,
) -> Result<HttpResponse, HttpClientError> {
    let auth = std::mem::take(&mut options.auth);
    let scheme = auth.scheme(client.authentication.as_deref());
    let auth = scheme.map(|scheme| CallAuth::new(scheme, auth.force_renewal));
    let mut call = Call::new(client, hop, options, auth);
    match call.run().await {
        Ok(response) => Ok(call.answered(response)),
        Err(error) => Err(call.failed(error)),
    }
}

/// A call under way: what has become of it so far.
struct Call<'a> {
    client: &'a Inner,
    hop: Hop,
    options: CallOptions,
    auth: Option<CallAuth<'a>>,
    redirects: Redirects,
    started: Instant,
    deadline: Option<Instant>,
    /// Requests sent.
    attempts: u32,
    /// Of these, those that a retry strategy asked for.
    retries: u32,
    extensions: Extensions,
    /// How long the last exchange took, if anybody asks.
    took: Duration,
}

/// What to do after a step of the loop.
enum Step<T> {
    /// Begin another attempt.
    Again,
    /// Go on with this.
    On(T),
}

type Outcome = Result<Response, HttpClientError>;

impl<'a> Call<'a> {
    fn new(client: &'a Inner, hop: Hop, options: CallOptions, auth: Option<CallAuth<'a>>) -> Self {
        let started = Instant::now();
        // A time-out that no clock can express is none.
        let deadline =
            options.total_timeout.or(client.total_timeout).and_then(|timeout| started.checked_add(timeout));
        Self {
            client,
            hop,
            options,
            auth,
            redirects: Redirects::at_most(client.max_redirects),
            started,
            deadline,
            attempts: 0,
            retries: 0,
            extensions: Extensions::new(),
            took: Duration::ZERO,
        }
    }

    async fn run(&mut self) -> Outcome {
        loop {
            let (request, permit) = self.prepare().await?;
            let outcome = match self.exchange(request, permit).await {
                Ok(response) => match self.authenticate(response).await? {
                    Step::Again => continue,
                    Step::On(response) => Ok(response),
                },
                Err(error) => Err(error),
            };
            let Step::On(response) = self.retry(outcome).await? else { continue };
            self.show(&response)?;
            if !self.redirects.follow(&mut self.hop, &response, &self.client.trust)? {
                return Ok(response);
            }
        }
    }

    /// The request of an attempt, and leave to send it now.
    async fn prepare(&mut self) -> Result<(Request, Option<Permit>), HttpClientError> {
        // First of all: no token is fetched for a request that is not sent.
        let mut permit = self.admit()?;
        let mut request = self.request().await?;
        // Tokens and hooks have had their time.
        let timeout = self.attempt_timeout()?;
        if let Some(permit) = &mut permit {
            permit.renew(timeout)?;
        }
        if self.options.timeout.is_some() || self.deadline.is_some() {
            *request.timeout_mut() = Some(timeout);
        }
        Ok((request, permit))
    }

    /// Leave to send, where there is a breaker to be asked.
    fn admit(&self) -> Result<Option<Permit>, HttpClientError> {
        let Some(breaker) = &self.client.breaker else { return Ok(None) };
        Ok(Some(breaker.admit(&self.hop.url, self.attempt_timeout()?)?))
    }

    /// How long an attempt may take that begins now, its body included.
    fn attempt_timeout(&self) -> Result<Duration, HttpClientError> {
        let timeout = self.options.timeout.unwrap_or(self.client.timeout);
        let Some(deadline) = self.deadline else { return Ok(timeout) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(HttpClientError::total_timeout()) } else { Ok(timeout.min(left)) }
    }

    /// The request of an attempt, with its credential and what hooks make of it.
    async fn request(&mut self) -> Result<Request, HttpClientError> {
        let mut headers = self.hop.headers.clone();
        if let Some(auth) = &mut self.auth {
            auth.start();
            if self.hop.is_trusted() {
                within(self.deadline, auth.apply(&self.hop.bare(), &mut headers)).await??;
            }
        }
        if !self.client.hooks.request.is_empty() {
            self.alter(&mut headers)?;
        }
        let mut request = Request::new(self.hop.method.clone(), self.hop.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = self.hop.body.send();
        Ok(request)
    }

    /// Lets hooks alter a request.
    fn alter(&mut self, headers: &mut HeaderMap) -> Result<(), HttpClientError> {
        let carrying = self.auth.as_ref().and_then(|auth| auth.carrying(headers)).cloned();
        self.client.hooks.before_request(&mut OutgoingRequest {
            method: &self.hop.method,
            url: &self.hop.url,
            headers,
            body: self.hop.body.at_hand(),
            attempt: self.attempts + 1,
            is_trusted: self.hop.is_trusted(),
            trust: &self.client.trust,
            extensions: &mut self.extensions,
        })?;
        // Where a hook has put something else into the credential's place, an answer says nothing of it.
        if let Some(auth) = &mut self.auth
            && auth.carrying(headers) != carrying.as_ref()
        {
            auth.start();
        }
        Ok(())
    }

    async fn exchange(&mut self, request: Request, permit: Option<Permit>) -> Outcome {
        let had_time = self.has_time_to_judge(request.timeout().copied());
        if !self.has_time_for(Duration::ZERO) {
            // Nothing is sent any more, which says nothing of the server: the permit is given back.
            return Err(HttpClientError::total_timeout());
        }
        let client = self.client;
        self.attempts += 1;
        let logging = client.logging.as_ref();
        let entry = logging
            .and_then(|logging| logging.begin(&request, &client.trust, self.attempts, &self.extensions));
        let is_timed = entry.is_some() || !client.hooks.response.is_empty();
        let begun = is_timed.then(Instant::now);
        let sent = client.http.execute(request).await;
        self.took = begun.map(|begun| begun.elapsed()).unwrap_or_default();
        let outcome = sent.map_err(|error| HttpClientError::exchange(&error));
        if let Some(permit) = permit
            && let Some(verdict) = verdict(&outcome)
            && (had_time || !outcome.as_ref().is_err_and(HttpClientError::is_timeout))
        {
            permit.settle(verdict);
        }
        match (entry, outcome) {
            (None, outcome) => outcome,
            (Some(entry), Ok(response)) => Ok(entry.answered(response, self.took)),
            (Some(entry), Err(error)) => {
                entry.failed(&error, self.took);
                Err(error)
            }
        }
    }

    /// Lets hooks see an answer that counts.
    fn show(&mut self, response: &Response) -> Result<(), HttpClientError> {
        self.client.hooks.after_response(&mut ReceivedResponse {
            method: &self.hop.method,
            url: &self.hop.url,
            status: response.status(),
            headers: response.headers(),
            attempt: self.attempts,
            elapsed: self.took,
            extensions: &mut self.extensions,
        })
    }

    /// Replays what was rejected, if another credential can be had.
    async fn authenticate(&mut self, mut response: Response) -> Result<Step<Response>, HttpClientError> {
        let Some(auth) = &mut self.auth else { return Ok(Step::On(response)) };
        let next = if auth.reads_body(response.status(), response.headers()) {
            let peeked = within(self.deadline, peek(response, MAX_EXAMINED)).await?;
            let next = auth.after(&ExaminedResponse::of(&peeked.response, peeked.body.as_deref()));
            response = peeked.response;
            next
        } else {
            auth.after(&ExaminedResponse::of(&response, None))
        };
        let Next::Renew(delay) = next else { return Ok(Step::On(response)) };
        let replays = within(self.deadline, auth.renew(self.hop.body.can_be_sent())).await??;
        if !(replays && self.has_time_for(delay)) {
            return Ok(Step::On(response));
        }
        tracing::debug!(method = %self.hop.method, "replaying with another token after a 401");
        drop(response);
        tokio::time::sleep(delay).await;
        Ok(Step::Again)
    }

    /// Backs off where the strategy wants a retry and nothing stands against it (invariant 21).
    async fn retry(&mut self, mut outcome: Outcome) -> Result<Step<Response>, HttpClientError> {
        let Some(policy) = &self.client.retries else { return outcome.map(Step::On) };
        if self.may_be_repeated() && outcome.as_ref().err().is_none_or(HttpClientError::is_of_the_exchange) {
            let retry = self.retries + 1;
            let delay = match outcome {
                Ok(response) if policy.reads_body() => {
                    let peeked = within(self.deadline, peek(response, MAX_EXAMINED)).await?;
                    let examined = ExaminedResponse::of(&peeked.response, peeked.body.as_deref());
                    let delay = policy.delay(retry, &RetryOutcome::Response(examined));
                    outcome = Ok(peeked.response);
                    delay
                }
                Ok(ref response) => {
                    let examined = ExaminedResponse::of(response, None);
                    policy.delay(retry, &RetryOutcome::Response(examined))
                }
                Err(ref error) => policy.delay(retry, &RetryOutcome::Error(error)),
            };
            if let Some(delay) = delay
                && self.has_time_for(delay)
                && !self.is_refused_after(delay)
                && policy.withdraw()
            {
                tracing::debug!(method = %self.hop.method, retry, ?delay, "trying again");
                self.retries = retry;
                drop(outcome);
                tokio::time::sleep(delay).await;
                return Ok(Step::Again);
            }
        }
        match outcome {
            Ok(response) => Ok(Step::On(response)),
            Err(error) if self.retries > 0 => Err(HttpClientError::max_retries(self.retries, error)),
            Err(error) => Err(error),
        }
    }

    /// Whether the request may be sent once more after it may have arrived (RFC 9110 9.2.2).
    fn may_be_repeated(&self) -> bool {
        let is_idempotent = self.hop.method.is_idempotent()
            || self.hop.headers.get(IDEMPOTENCY_KEY).is_some_and(|key| !is_blank(key))
            || self.options.retry_any_method;
        is_idempotent && self.hop.body.can_be_sent()
    }

    /// Whether the breaker would refuse a request after this delay. Nobody waits for that.
    fn is_refused_after(&self, delay: Duration) -> bool {
        self.client.breaker.as_ref().is_some_and(|breaker| breaker.refuses_after(delay, &self.hop.url))
    }

    /// Whether something is left of the call's time after this delay. One that leaves nothing is not
    /// begun.
    fn has_time_for(&self, delay: Duration) -> bool {
        self.deadline.is_none_or(|deadline| {
            Instant::now().checked_add(delay).is_some_and(|resumed| resumed < deadline)
        })
    }

    /// Whether no answer within this time says something of the server: it is at least half of what the
    /// first attempt of a call has. What tokens and back-offs leave of a call may be too little.
    fn has_time_to_judge(&self, timeout: Option<Duration>) -> bool {
        let (Some(timeout), Some(deadline)) = (timeout, self.deadline) else { return true };
        let attempt = self.options.timeout.unwrap_or(self.client.timeout);
        timeout >= attempt.min(deadline.saturating_duration_since(self.started)) / 2
    }

    /// The error with which the call ends. Hooks have seen it.
    fn failed(&self, error: HttpClientError) -> HttpClientError {
        let error = error.at(&self.hop.method, &self.hop.url);
        self.client.hooks.on_error(&FailedCall {
            method: &self.hop.method,
            url: &self.hop.url,
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
            error: &error,
            extensions: &self.extensions,
        });
        error
    }

    fn answered(self, mut response: Response) -> HttpResponse {
        if let Some(policy) = &self.client.retries {
            policy.settle(response.status());
        }
        response.extensions_mut().extend(self.extensions);
        HttpResponse {
            method: self.hop.method,
            url: self.hop.url,
            inner: response,
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
            max_body: self.client.max_body,
        }
    }
}

/// What an outcome says of the server; nothing where the request did not leave us.
fn verdict(outcome: &Outcome) -> Option<Verdict> {
    match outcome {
        Ok(response) if response.status().is_server_error() => Some(Verdict::Failure),
        Ok(_) => Some(Verdict::Success),
        Err(error) => error.is_of_the_exchange().then_some(Verdict::Failure),
    }
}

/// What comes of this within the call's time.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Result<T, HttpClientError> {
    match deadline {
        None => Ok(future.await),
        Some(deadline) => {
            tokio::time::timeout_at(deadline, future).await.map_err(|_| HttpClientError::total_timeout())
        }
    }
}
