//! A call: the loop that sends a request, and decides after each response or error whether to send it again.
//!
//! One attempt is [`exchange`](Call::exchange): credential, hooks, request, response. [`repeat`] has the two
//! reasons for another attempt, renewals and retries. [`redirect`] makes the next hop; [`carried_secrets`] keeps
//! the secrets that errors and logs must not show.

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

/// A call under way.
pub(crate) struct Call<'a> {
    client: &'a ClientCore,
    pub(crate) hop: Hop<'a>,
    options: &'a CallOptions,
    auth: Option<AuthSession<'a>>,
    redirects: Redirects,
    carried: CarriedSecrets,
    pub(crate) started: Instant,
    deadline: Option<Instant>,
    /// How many requests were sent.
    pub(crate) attempts: u32,
    /// How many of them are retries.
    retries: u32,
    /// The outcome of the last attempt, until the next request is sent. If the deadline or the breaker prevents that
    /// request, the caller gets this outcome.
    previous: Option<Box<PreviousAttempt>>,
    extensions: Extensions,
    /// How long the last exchange took, if there are response hooks or a log.
    exchange_time: Duration,
}

struct PreviousAttempt {
    outcome: Outcome,
    /// How many retries the call had made by then.
    retries: u32,
}

/// `Continue` with another attempt, or `Break` with the response that ends the attempts of this hop.
type LoopStep = ControlFlow<Box<Response>>;

/// The next action of the loop after an outcome.
enum NextAction {
    /// End the attempts of this hop.
    Finish,
    /// Read the beginning of the body, and then decide.
    ReadBody,
    /// Renew the token. Begin another attempt if the renewal brings another token.
    Renew(ReplaySchedule),
    /// Begin another attempt after this delay. The retry is already taken from the budget and counted.
    Retry(Duration),
}

/// The result of an attempt. The response is boxed, because several functions return it in turn.
type Outcome = Result<Box<Response>, HttpClientError>;

impl<'a> Call<'a> {
    pub(crate) fn new(client: &'a ClientCore, hop: Hop<'a>, options: &'a CallOptions) -> Self {
        let plan = options.auth.plan(client.settings.authentication.as_deref());
        let auth = plan.map(|plan| AuthSession::with_plan(plan, options.auth.force_renewal));
        let started = Instant::now();
        // A time-out so long that the clock cannot express its end counts as none.
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

    /// Runs the call. Strategies, breaker and session only decide; this loop sleeps and sends.
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

    /// Makes one attempt, and does what follows from its outcome.
    async fn attempt(&mut self) -> Result<LoopStep, HttpClientError> {
        let outcome = match self.exchange().await {
            Ok(outcome) => outcome,
            Err(error) => return self.handle_unsent(error).await,
        };
        let previous = PreviousAttempt { retries: self.retries, outcome };
        match self.decide_next(&previous.outcome) {
            NextAction::Finish => self.final_outcome(previous.outcome).map(ControlFlow::Break),
            action => self.act_on(previous, action).await,
        }
    }

    /// Decides what to do after an outcome, without a wait. Carries out the parts of the decision that must not
    /// wait: marks the token as accepted or rejected, takes a retry from the budget, and counts it.
    fn decide_next(&mut self, outcome: &Outcome) -> NextAction {
        if self.needs_body(outcome) {
            NextAction::ReadBody
        } else {
            self.decide_next_with_body(outcome, None)
        }
    }

    /// As [`decide_next`](Self::decide_next), for an outcome whose body is known or not needed.
    fn decide_next_with_body(&mut self, outcome: &Outcome, body: Option<&[u8]>) -> NextAction {
        if let (Ok(response), Some(auth)) = (outcome, &self.auth)
            && let NextStep::Renew(schedule) = auth.after_response(&ExaminedResponse::of(response, body))
        {
            return NextAction::Renew(schedule);
        }
        self.try_begin_retry(outcome, body).map_or(NextAction::Finish, NextAction::Retry)
    }

    /// Does what [`decide_next`](Self::decide_next) has decided.
    // Speed: most calls end without this. As a boxed future of its own it adds nothing to their future and stack.
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
                action = self.decide_next_with_body(&outcome, body.as_deref());
            }
            let again = match action {
                NextAction::Retry(delay) => Some(delay),
                NextAction::Renew(schedule) => {
                    let replays;
                    (outcome, replays) = self.renew_before_replay(outcome, schedule).await?;
                    if replays {
                        Some(schedule.delay_before_replay())
                    } else {
                        self.try_begin_retry(&outcome, body.as_deref())
                    }
                }
                NextAction::Finish | NextAction::ReadBody => None,
            };
            let Some(delay) = again else { return self.final_outcome(outcome).map(ControlFlow::Break) };
            self.pause(PreviousAttempt { outcome, retries }, delay).await;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Handles an attempt whose request was not sent. If the client got no token and a retry may get one, begins a
    /// retry; else ends the call.
    // Speed: boxed for the same reason as `act_on`.
    #[inline(never)]
    fn handle_unsent(&mut self, error: HttpClientError) -> BoxFuture<'_, Result<LoopStep, HttpClientError>> {
        Box::pin(async move {
            if let Some(delay) = self.try_begin_token_retry(&error) {
                self.pause(PreviousAttempt { retries: self.retries - 1, outcome: Err(error) }, delay).await;
                return Ok(ControlFlow::Continue(()));
            }
            self.previous_outcome_or(self.final_error_without_token(error)).map(ControlFlow::Break)
        })
    }

    /// If the deadline or the breaker prevents another attempt, returns the previous attempt's outcome; else the
    /// error.
    fn previous_outcome_or(&mut self, error: HttpClientError) -> Outcome {
        match self.previous.take() {
            Some(previous) if error.is_circuit_open() || error.is_timeout() => {
                self.retries = previous.retries;
                self.final_outcome(previous.outcome)
            }
            _ => Err(error),
        }
    }

    /// Runs the response hooks on a response that no further attempt replaces.
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

    /// Whether the session or the retry strategy must see the body before it can decide.
    fn needs_body(&self, outcome: &Outcome) -> bool {
        let Ok(response) = outcome else { return false };
        let (status, headers) = (response.status(), response.headers());
        self.auth.as_ref().is_some_and(|auth| auth.reads_body(status, headers))
            || (self.client.retries.as_ref().is_some_and(|policy| policy.reads_body(status, headers))
                && self.may_be_repeated())
    }

    /// The outcome of the last attempt as the caller gets it: after retries an error counts them.
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

    /// Completes the error with which the call ends, and runs the error hooks on it.
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

/// Reads the beginning of a response's body, and puts it back. The time-out of the attempt bounds the read, and ends
/// before the call's deadline. The body is `None` if it is too long or did not arrive whole.
async fn read_body(outcome: Outcome) -> (Outcome, Option<Bytes>) {
    match outcome {
        Ok(response) => {
            let PeekedResponse { response, body } = peek(*response, MAX_EXAMINED, None).await;
            (Ok(response.into()), body)
        }
        Err(error) => (Err(error), None),
    }
}

/// Whether this delay leaves no time for another attempt before the deadline. If so, the call does not begin the
/// delay.
fn leaves_no_time(deadline: Option<Instant>, delay: Duration) -> bool {
    deadline
        .is_some_and(|deadline| Instant::now().checked_add(delay).is_none_or(|resumed| resumed >= deadline))
}
