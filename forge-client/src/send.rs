//! The loop: credential, request, answer, and what follows of it.

use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderMap};
use reqwest::{Request, Response};
use tokio::time::Instant;

use crate::auth::{CallAuth, CallAuthOptions, Next};
use crate::breaker::{Permit, Verdict};
use crate::client::Inner;
use crate::deadline::within;
use crate::examined::MAX_EXAMINED;
use crate::hooks::{FailedCall, OutgoingRequest, ReceivedResponse};
use crate::hop::Hop;
use crate::peek::{Peeked, peek};
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
    /// What the last attempt came to, until the next one is begun.
    so_far: Option<Box<SoFar>>,
    extensions: Extensions,
    /// How long the last exchange took, if anybody asks.
    took: Duration,
}

struct SoFar {
    outcome: Outcome,
    /// Retries up to there.
    retries: u32,
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
            so_far: None,
            extensions: Extensions::new(),
            took: Duration::ZERO,
        }
    }

    async fn run(&mut self) -> Outcome {
        loop {
            let Step::On(response) = self.attempt().await? else { continue };
            self.show(&response)?;
            if !self.redirects.follow(&mut self.hop, &response, &self.client.trust)? {
                return Ok(response);
            }
        }
    }

    /// Sends, and looks what follows of the outcome.
    async fn attempt(&mut self) -> Result<Step<Response>, HttpClientError> {
        let mut outcome = match self.exchange().await {
            Ok(outcome) => outcome,
            Err(refusal) => return self.instead_of(refusal).map(Step::On),
        };
        let mut body = None;
        if self.reads_body(&outcome) {
            (outcome, body) = examine(outcome).await;
        }
        let retries = self.retries;
        let again = match self.replay_after(&outcome, body.as_deref()).await? {
            Some(delay) => Some(delay),
            None => self.retry_after(&outcome, body.as_deref()),
        };
        let Some(delay) = again else { return self.last(outcome).map(Step::On) };
        self.pause(SoFar { outcome, retries }, delay).await;
        Ok(Step::Again)
    }

    /// Sends one request, unless it is refused before.
    async fn exchange(&mut self) -> Result<Outcome, HttpClientError> {
        // First of all: no token is fetched for a request that is not sent.
        let mut permit = self.admit()?;
        let mut headers = self.hop.headers.clone();
        self.credential(&mut headers).await?;
        if !self.client.hooks.request.is_empty() {
            self.alter(&mut headers)?;
        }
        // Tokens and hooks have had their time.
        let timeout = self.attempt_timeout()?;
        if let Some(permit) = &mut permit {
            permit.renew(timeout).map_err(|open| HttpClientError::refused(open, self.attempts))?;
        }
        let had_time = self.has_time_to_judge(timeout);
        if is_over(self.deadline, Duration::ZERO) {
            // Which says nothing of the server: the permit is given back.
            return Err(HttpClientError::total_timeout());
        }
        let client = self.client;
        self.so_far = None;
        self.attempts += 1;
        let mut request = Request::new(self.hop.method.clone(), self.hop.url.clone());
        *request.headers_mut() = headers;
        if self.options.timeout.is_some() || self.deadline.is_some() {
            *request.timeout_mut() = Some(timeout);
        }
        let (body, stream) = self.hop.body.send();
        *request.body_mut() = body;
        let logging = client.logging.as_ref();
        // Boxed, as what most calls do without would be moved with each of them.
        let entry = logging
            .and_then(|logging| logging.begin(&request, &client.trust, self.attempts, &self.extensions))
            .map(Box::new);
        let is_timed = entry.is_some() || !client.hooks.response.is_empty();
        let begun = is_timed.then(Instant::now);
        let sent = client.http.execute(request).await;
        self.took = begun.map(|begun| begun.elapsed()).unwrap_or_default();
        let outcome = sent.map_err(|error| match stream.and_then(|stream| stream.failure()) {
            Some(failure) => HttpClientError::request_body(failure),
            None => HttpClientError::exchange(&error),
        });
        if let Some(permit) = permit
            && let Some(verdict) = verdict(&outcome)
            && (had_time || !outcome.as_ref().is_err_and(HttpClientError::is_timeout))
        {
            permit.settle(verdict);
        }
        Ok(match (entry, outcome) {
            (None, outcome) => outcome,
            (Some(entry), Ok(response)) => Ok(entry.answered(response, self.took)),
            (Some(entry), Err(error)) => {
                entry.failed(&error, self.took);
                Err(error)
            }
        })
    }

    /// Leave to send, where there is a breaker to be asked.
    fn admit(&self) -> Result<Option<Permit>, HttpClientError> {
        let Some(breaker) = &self.client.breaker else { return Ok(None) };
        let admitted = breaker.admit(&self.hop.url, self.attempt_timeout()?);
        admitted.map(Some).map_err(|open| HttpClientError::refused(open, self.attempts))
    }

    /// How long an attempt may take that begins now, its body included.
    fn attempt_timeout(&self) -> Result<Duration, HttpClientError> {
        let timeout = self.options.timeout.unwrap_or(self.client.timeout);
        let Some(deadline) = self.deadline else { return Ok(timeout) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(HttpClientError::total_timeout()) } else { Ok(timeout.min(left)) }
    }

    /// Adds what authenticates an attempt.
    async fn credential(&mut self, headers: &mut HeaderMap) -> Result<(), HttpClientError> {
        let Some(auth) = &mut self.auth else { return Ok(()) };
        auth.start();
        if !self.hop.is_trusted() {
            return Ok(());
        }
        let applied = within(self.deadline, auth.apply(&self.hop.bare(), headers)).await;
        Ok(applied.map_err(|_| HttpClientError::total_timeout())??)
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

    /// What is handed on where the next attempt was not begun: what came so far, if there is no time or the
    /// breaker refuses.
    fn instead_of(&mut self, error: HttpClientError) -> Outcome {
        match self.so_far.take() {
            Some(so_far) if error.is_circuit_open() || error.is_timeout() => {
                self.retries = so_far.retries;
                self.last(so_far.outcome)
            }
            _ => Err(error),
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

    /// Whether the body must be at hand before it is known what follows.
    fn reads_body(&self, outcome: &Outcome) -> bool {
        let Ok(response) = outcome else { return false };
        let (status, headers) = (response.status(), response.headers());
        self.auth.as_ref().is_some_and(|auth| auth.reads_body(status, headers))
            || (self.client.retries.as_ref().is_some_and(|policy| policy.reads_body(status, headers))
                && self.may_be_repeated())
    }

    /// After what delay a rejected request is sent again, if another credential can be had.
    async fn replay_after(
        &mut self,
        outcome: &Outcome,
        body: Option<&[u8]>,
    ) -> Result<Option<Duration>, HttpClientError> {
        let deadline = self.deadline;
        let (Ok(response), Some(auth)) = (outcome, &mut self.auth) else { return Ok(None) };
        let Next::Renew(delay) = auth.after(&ExaminedResponse::of(response, body)) else { return Ok(None) };
        if is_over(deadline, Duration::ZERO) {
            // Its body has stalled until now.
            return Ok(None);
        }
        let can_be_sent = self.hop.body.can_be_sent();
        let replays = match within(deadline, auth.renew(can_be_sent)).await {
            Ok(renewed) => renewed?,
            Err(_) if can_be_sent => return Err(HttpClientError::total_timeout()),
            Err(_) => false,
        };
        if !replays || is_over(deadline, delay) || self.is_refused_after(delay) {
            return Ok(None);
        }
        tracing::debug!(method = %self.hop.method, "replaying with another token after a 401");
        Ok(Some(delay))
    }

    /// After what delay a request is retried, where the strategy wants it and nothing stands against it
    /// (invariant 21).
    fn retry_after(&mut self, outcome: &Outcome, body: Option<&[u8]>) -> Option<Duration> {
        let policy = self.client.retries.as_ref()?;
        if !self.may_be_repeated() {
            return None;
        }
        let examined = match outcome {
            Ok(response) => RetryOutcome::Response(ExaminedResponse::of(response, body)),
            Err(error) if error.is_of_the_exchange() => RetryOutcome::Error(error),
            Err(_) => return None,
        };
        let retry = self.retries + 1;
        let delay = policy.delay(retry, &examined)?;
        if is_over(self.deadline, delay) || self.is_refused_after(delay) || !policy.withdraw() {
            return None;
        }
        tracing::debug!(method = %self.hop.method, retry, ?delay, "trying again");
        self.retries = retry;
        Some(delay)
    }

    /// Waits before another attempt. An answer is kept where that may yet be refused; else its connection is
    /// given free at once.
    async fn pause(&mut self, so_far: SoFar, delay: Duration) {
        let pause = tokio::time::sleep(delay);
        let SoFar { outcome, retries } = so_far;
        let kept = match outcome {
            Ok(response) if self.client.breaker.is_some() || self.deadline.is_some() => {
                // Most bodies come meanwhile, and then they keep, and need no connection either.
                Some(Ok(peek(response, MAX_EXAMINED, Some(pause.deadline())).await.response))
            }
            Ok(response) => {
                drop(response);
                None
            }
            Err(error) => Some(Err(error)),
        };
        self.so_far = kept.map(|outcome| Box::new(SoFar { outcome, retries }));
        pause.await;
    }

    /// The outcome of the last attempt, as the caller gets it.
    fn last(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Err(error) if self.retries > 0 => Err(HttpClientError::max_retries(self.retries, error)),
            outcome => outcome,
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

    /// Whether no answer within this time says something of the server: it is at least half of what the
    /// first attempt of a call has. What tokens and back-offs leave of a call may be too little.
    fn has_time_to_judge(&self, timeout: Duration) -> bool {
        let Some(deadline) = self.deadline else { return true };
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

/// An answer with its body, where that comes in time: that of the attempt, which is within the call's.
async fn examine(outcome: Outcome) -> (Outcome, Option<Bytes>) {
    match outcome {
        Ok(response) => {
            let Peeked { response, body } = peek(response, MAX_EXAMINED, None).await;
            (Ok(response), body)
        }
        Err(error) => (Err(error), None),
    }
}

/// Whether nothing is left of a call's time after this delay. One that leaves nothing is not begun.
fn is_over(deadline: Option<Instant>, delay: Duration) -> bool {
    deadline
        .is_some_and(|deadline| Instant::now().checked_add(delay).is_none_or(|resumed| resumed >= deadline))
}
