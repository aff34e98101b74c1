//! The loop: credential, request, answer, and what follows of it.

mod again;
mod exchange;
mod trail;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Extensions;
use reqwest::Response;
use tokio::time::Instant;

use crate::auth::{CallAuth, CallAuthOptions, Next, ReplaySchedule};
use crate::client::Inner;
use crate::examined::MAX_EXAMINED;
use crate::hooks::{FailedCall, ReceivedResponse};
use crate::hop::Hop;
use crate::peek::{Peeked, peek};
use crate::redirect::Redirects;
use crate::{ExaminedResponse, HttpClientError};
use trail::Trail;

/// What a request says of its call.
#[derive(Default)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) retry_any_method: bool,
    pub(crate) auth: CallAuthOptions,
}

/// A call under way: what has become of it so far.
pub(crate) struct Call<'a> {
    client: &'a Inner,
    pub(crate) hop: Hop<'a>,
    options: &'a CallOptions,
    auth: Option<CallAuth<'a>>,
    redirects: Redirects,
    trail: Trail,
    pub(crate) started: Instant,
    deadline: Option<Instant>,
    /// Requests sent.
    pub(crate) attempts: u32,
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

/// What an outcome asks for.
enum Follows {
    Nothing,
    /// That depends on its body.
    FromBody,
    /// A renewal of the credential, and another attempt if the renewal brings another credential.
    Renewal(ReplaySchedule),
    /// Another attempt after this delay.
    Again(Duration),
}

/// Boxed, as it is handed on from one to the next.
type Outcome = Result<Box<Response>, HttpClientError>;

impl<'a> Call<'a> {
    pub(crate) fn new(client: &'a Inner, hop: Hop<'a>, options: &'a CallOptions) -> Self {
        let scheme = options.auth.scheme(client.authentication.as_deref());
        let auth = scheme.map(|scheme| CallAuth::new(scheme, options.auth.force_renewal));
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
            trail: Trail::default(),
            started,
            deadline,
            attempts: 0,
            retries: 0,
            so_far: None,
            extensions: Extensions::new(),
            took: Duration::ZERO,
        }
    }

    /// Sends it. Whatever happens on the way, only this loop sleeps.
    pub(crate) async fn run(&mut self) -> Outcome {
        loop {
            let Step::On(mut response) = self.attempt().await? else { continue };
            if !self.client.hooks.response.is_empty() {
                self.show(&response)?;
            }
            if self.redirect(&response)? {
                continue;
            }
            if let Some(policy) = &self.client.retries {
                policy.settle(response.status());
            }
            response.extensions_mut().extend(std::mem::take(&mut self.extensions));
            return Ok(response);
        }
    }

    /// Sends, and looks what follows of the outcome.
    async fn attempt(&mut self) -> Result<Step<Box<Response>>, HttpClientError> {
        let outcome = match self.exchange().await {
            Ok(outcome) => outcome,
            Err(refusal) => return self.after_refusal(refusal).await,
        };
        let so_far = SoFar { retries: self.retries, outcome };
        match self.look_at(&so_far.outcome) {
            Follows::Nothing => self.last(so_far.outcome).map(Step::On),
            follows => self.follow(so_far, follows).await,
        }
    }

    /// What follows of an outcome, as far as that can be told without waiting.
    fn look_at(&mut self, outcome: &Outcome) -> Follows {
        if self.reads_body(outcome) { Follows::FromBody } else { self.judge(outcome, None) }
    }

    fn judge(&mut self, outcome: &Outcome, body: Option<&[u8]>) -> Follows {
        if let (Ok(response), Some(auth)) = (outcome, &self.auth)
            && let Next::Renew(schedule) = auth.after(&ExaminedResponse::of(response, body))
        {
            return Follows::Renewal(schedule);
        }
        self.retry_after(outcome, body).map_or(Follows::Nothing, Follows::Again)
    }

    /// Does what follows of an outcome.
    // Apart and boxed: most calls end without it, and would have it in their future and on their stack.
    #[inline(never)]
    fn follow(
        &mut self,
        SoFar { mut outcome, retries }: SoFar,
        mut follows: Follows,
    ) -> BoxFuture<'_, Result<Step<Box<Response>>, HttpClientError>> {
        Box::pin(async move {
            let mut body = None;
            if matches!(follows, Follows::FromBody) {
                (outcome, body) = examine(outcome).await;
                follows = self.judge(&outcome, body.as_deref());
            }
            let again = match follows {
                Follows::Again(delay) => Some(delay),
                Follows::Renewal(schedule) => {
                    let replays;
                    (outcome, replays) = self.renew(outcome, schedule).await?;
                    if replays {
                        Some(schedule.before_replay)
                    } else {
                        self.retry_after(&outcome, body.as_deref())
                    }
                }
                Follows::Nothing | Follows::FromBody => None,
            };
            let Some(delay) = again else { return self.last(outcome).map(Step::On) };
            self.pause(SoFar { outcome, retries }, delay).await;
            Ok(Step::Again)
        })
    }

    /// Handles an attempt that did not begin. If the client got no token and a retry may get one, begins another
    /// attempt; else ends the call.
    // Apart and boxed, as `follow` is.
    #[inline(never)]
    fn after_refusal(
        &mut self,
        refusal: HttpClientError,
    ) -> BoxFuture<'_, Result<Step<Box<Response>>, HttpClientError>> {
        Box::pin(async move {
            if let Some(delay) = self.delay_until_token(&refusal) {
                self.pause(SoFar { retries: self.retries - 1, outcome: Err(refusal) }, delay).await;
                return Ok(Step::Again);
            }
            self.instead_of(self.after_retries_for_token(refusal)).map(Step::On)
        })
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

    /// The outcome of the last attempt, as the caller gets it.
    fn last(&self, outcome: Outcome) -> Outcome {
        outcome.map_err(|error| self.last_error(error))
    }

    fn last_error(&self, error: HttpClientError) -> HttpClientError {
        if self.retries > 0 { HttpClientError::max_retries(self.retries, error) } else { error }
    }

    /// The error of an attempt that did not begin, as the caller gets it. It counts the retries only if the
    /// client got no token: no other such error is retried.
    fn after_retries_for_token(&self, error: HttpClientError) -> HttpClientError {
        if error.is_transient_lack_of_token() { self.last_error(error) } else { error }
    }

    /// The error with which the call ends. Hooks have seen it.
    pub(crate) fn failed(&self, error: HttpClientError) -> HttpClientError {
        let error = error.at(&self.hop.method, &self.hop.url).after(self.attempts);
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
}

/// An answer with its body, where that comes in time: that of the attempt, which is within the call's.
async fn examine(outcome: Outcome) -> (Outcome, Option<Bytes>) {
    match outcome {
        Ok(response) => {
            let Peeked { response, body } = peek(*response, MAX_EXAMINED, None).await;
            (Ok(response.into()), body)
        }
        Err(error) => (Err(error), None),
    }
}

/// Whether nothing is left of a call's time after this delay. One that leaves nothing is not begun.
fn is_over(deadline: Option<Instant>, delay: Duration) -> bool {
    deadline
        .is_some_and(|deadline| Instant::now().checked_add(delay).is_none_or(|resumed| resumed >= deadline))
}
