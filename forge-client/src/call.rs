//! The loop: credential, request, answer, and what follows of it.

mod carried_secrets;
mod client_core;
mod exchange;
mod hop;
mod http_clients;
mod options;
mod redirect;
mod repeat;

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Extensions;
use reqwest::Response;
use tokio::time::Instant;

use crate::auth::{AuthSession, NextStep, ReplaySchedule};
use crate::body::{MAX_EXAMINED, PeekedResponse, peek};

use crate::hooks::{FailedCall, ReceivedResponse};
use crate::{ExaminedResponse, HttpClientError};
pub(crate) use client_core::ClientCore;
pub(crate) use hop::Hop;
pub(crate) use options::{AuthOverride, CallOptions};

use carried_secrets::CarriedSecrets;
use redirect::Redirects;

/// A call under way: what has become of it so far.
pub(crate) struct Call<'a> {
    client: &'a ClientCore,
    pub(crate) hop: Hop<'a>,
    options: &'a CallOptions,
    auth: Option<AuthSession<'a>>,
    redirects: Redirects,
    carried: CarriedSecrets,
    pub(crate) started: Instant,
    deadline: Option<Instant>,
    /// Requests sent.
    pub(crate) attempts: u32,
    /// Of these, those that a retry strategy asked for.
    retries: u32,
    /// What the last attempt came to, until the next one is begun.
    previous: Option<Box<PreviousAttempt>>,
    extensions: Extensions,
    /// How long the last exchange took, if anybody asks.
    exchange_time: Duration,
}

struct PreviousAttempt {
    outcome: Outcome,
    /// Retries up to there.
    retries: u32,
}

/// After a step of the loop: go on with another attempt, or leave the loop with this response.
type LoopStep = ControlFlow<Box<Response>>;

/// What an outcome asks for.
enum NextAction {
    /// The call ends with it.
    Finish,
    /// That depends on its body.
    ReadBody,
    /// A renewal of the credential, and another attempt if the renewal brings another credential.
    Renew(ReplaySchedule),
    /// Another attempt after this delay.
    Retry(Duration),
}

/// Boxed, as it is handed on from one to the next.
type Outcome = Result<Box<Response>, HttpClientError>;

impl<'a> Call<'a> {
    pub(crate) fn new(client: &'a ClientCore, hop: Hop<'a>, options: &'a CallOptions) -> Self {
        let plan = options.auth.plan(client.settings.authentication.as_deref());
        let auth = plan.map(|plan| AuthSession::with_plan(plan, options.auth.force_renewal));
        let started = Instant::now();
        // A time-out that no clock can express is none.
        let deadline = options
            .total_timeout
            .or(client.settings.total_timeout)
            .and_then(|timeout| started.checked_add(timeout));
        Self {
            client,
            hop,
            options,
            auth,
            redirects: Redirects::with_limit(client.settings.max_redirects),
            carried: CarriedSecrets::default(),
            started,
            deadline,
            attempts: 0,
            retries: 0,
            previous: None,
            extensions: Extensions::new(),
            exchange_time: Duration::ZERO,
        }
    }

    /// Sends it. Whatever happens on the way, only this loop sleeps.
    pub(crate) async fn run(&mut self) -> Outcome {
        loop {
            let ControlFlow::Break(mut response) = self.attempt().await? else { continue };
            if !self.client.settings.hooks.response.is_empty() {
                self.run_response_hooks(&response)?;
            }
            if self.follow_redirect(&response)? {
                continue;
            }
            if let Some(policy) = &self.client.retries {
                policy.deposit(response.status());
            }
            response.extensions_mut().extend(std::mem::take(&mut self.extensions));
            return Ok(response);
        }
    }

    /// Sends, and looks what follows of the outcome.
    async fn attempt(&mut self) -> Result<LoopStep, HttpClientError> {
        let outcome = match self.exchange().await {
            Ok(outcome) => outcome,
            Err(refusal) => return self.handle_refusal(refusal).await,
        };
        let previous = PreviousAttempt { retries: self.retries, outcome };
        match self.classify(&previous.outcome) {
            NextAction::Finish => self.final_outcome(previous.outcome).map(ControlFlow::Break),
            action => self.act_on(previous, action).await,
        }
    }

    /// What follows of an outcome, as far as that can be told without waiting.
    fn classify(&mut self, outcome: &Outcome) -> NextAction {
        if self.needs_body(outcome) { NextAction::ReadBody } else { self.classify_with_body(outcome, None) }
    }

    fn classify_with_body(&mut self, outcome: &Outcome, body: Option<&[u8]>) -> NextAction {
        if let (Ok(response), Some(auth)) = (outcome, &self.auth)
            && let NextStep::Renew(schedule) = auth.after_response(&ExaminedResponse::of(response, body))
        {
            return NextAction::Renew(schedule);
        }
        self.retry_delay(outcome, body).map_or(NextAction::Finish, NextAction::Retry)
    }

    /// Does what follows of an outcome.
    // Apart and boxed: most calls end without it, and would have it in their future and on their stack.
    #[inline(never)]
    fn act_on(
        &mut self,
        PreviousAttempt { mut outcome, retries }: PreviousAttempt,
        mut action: NextAction,
    ) -> BoxFuture<'_, Result<LoopStep, HttpClientError>> {
        Box::pin(async move {
            let mut body = None;
            if matches!(action, NextAction::ReadBody) {
                (outcome, body) = read_body(outcome).await;
                action = self.classify_with_body(&outcome, body.as_deref());
            }
            let again = match action {
                NextAction::Retry(delay) => Some(delay),
                NextAction::Renew(schedule) => {
                    let replays;
                    (outcome, replays) = self.renew(outcome, schedule).await?;
                    if replays {
                        Some(schedule.delay_before_replay())
                    } else {
                        self.retry_delay(&outcome, body.as_deref())
                    }
                }
                NextAction::Finish | NextAction::ReadBody => None,
            };
            let Some(delay) = again else { return self.final_outcome(outcome).map(ControlFlow::Break) };
            self.pause(PreviousAttempt { outcome, retries }, delay).await;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Handles an attempt that did not begin. If the client got no token and a retry may get one, begins another
    /// attempt; else ends the call.
    // Apart and boxed, as `act_on` is.
    #[inline(never)]
    fn handle_refusal(
        &mut self,
        refusal: HttpClientError,
    ) -> BoxFuture<'_, Result<LoopStep, HttpClientError>> {
        Box::pin(async move {
            if let Some(delay) = self.token_retry_delay(&refusal) {
                self.pause(PreviousAttempt { retries: self.retries - 1, outcome: Err(refusal) }, delay).await;
                return Ok(ControlFlow::Continue(()));
            }
            self.previous_outcome_or(self.final_error_without_token(refusal)).map(ControlFlow::Break)
        })
    }

    /// What is handed on where the next attempt was not begun: what came so far, if there is no time or the
    /// breaker refuses.
    fn previous_outcome_or(&mut self, error: HttpClientError) -> Outcome {
        match self.previous.take() {
            Some(previous) if error.is_circuit_open() || error.is_timeout() => {
                self.retries = previous.retries;
                self.final_outcome(previous.outcome)
            }
            _ => Err(error),
        }
    }

    /// Lets hooks see an answer that counts.
    fn run_response_hooks(&mut self, response: &Response) -> Result<(), HttpClientError> {
        self.client.settings.hooks.after_response(&mut ReceivedResponse {
            method: &self.hop.method,
            url: &self.hop.url,
            status: response.status(),
            headers: response.headers(),
            attempt: self.attempts,
            elapsed: self.exchange_time,
            extensions: &mut self.extensions,
        })
    }

    /// Whether the body must be at hand before it is known what follows.
    fn needs_body(&self, outcome: &Outcome) -> bool {
        let Ok(response) = outcome else { return false };
        let (status, headers) = (response.status(), response.headers());
        self.auth.as_ref().is_some_and(|auth| auth.reads_body(status, headers))
            || (self.client.retries.as_ref().is_some_and(|policy| policy.reads_body(status, headers))
                && self.may_be_repeated())
    }

    /// The outcome of the last attempt, as the caller gets it.
    fn final_outcome(&self, outcome: Outcome) -> Outcome {
        outcome.map_err(|error| self.final_error(error))
    }

    fn final_error(&self, error: HttpClientError) -> HttpClientError {
        if self.retries > 0 { HttpClientError::max_retries(self.retries, error) } else { error }
    }

    /// The error of an attempt that did not begin, as the caller gets it. It counts the retries only if the
    /// client got no token: no other such error is retried.
    fn final_error_without_token(&self, error: HttpClientError) -> HttpClientError {
        if error.is_transient_lack_of_token() { self.final_error(error) } else { error }
    }

    /// The error with which the call ends. Hooks have seen it.
    pub(crate) fn report_error(&self, error: HttpClientError) -> HttpClientError {
        let error = error.at(&self.hop.method, &self.hop.url).after(self.attempts);
        self.client.settings.hooks.on_error(&FailedCall {
            method: &self.hop.method,
            url: &self.hop.url,
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
            error: &error,
            extensions: &self.extensions,
        });
        error
    }
}

/// An answer with its body, where that comes in time: that of the attempt, which is within the call's.
async fn read_body(outcome: Outcome) -> (Outcome, Option<Bytes>) {
    match outcome {
        Ok(response) => {
            let PeekedResponse { response, body } = peek(*response, MAX_EXAMINED, None).await;
            (Ok(response.into()), body)
        }
        Err(error) => (Err(error), None),
    }
}

/// Whether nothing is left of a call's time after this delay. One that leaves nothing is not begun.
fn leaves_no_time(deadline: Option<Instant>, delay: Duration) -> bool {
    deadline
        .is_some_and(|deadline| Instant::now().checked_add(delay).is_none_or(|resumed| resumed >= deadline))
}
