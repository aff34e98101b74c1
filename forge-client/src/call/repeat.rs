//! Renewals after a 401, and retries: the two reasons for another attempt.

use std::time::Duration;

use super::{Call, Outcome, PreviousAttempt, leaves_no_time};
use crate::auth::ReplaySchedule;
use crate::body::{MAX_EXAMINED, peek};
use crate::retry::{IDEMPOTENCY_KEY, RetryOutcome, is_blank};
use crate::timing::within;
use crate::{ExaminedResponse, HttpClientError};

impl Call<'_> {
    /// Renews a rejected token after the schedule's delay, and again after a transient failure if a retry may
    /// begin. Returns the response, and whether to replay the request with another token. If not, the caller gets
    /// the response.
    pub(super) async fn renew_before_replay(
        &mut self,
        mut outcome: Outcome,
        schedule: ReplaySchedule,
    ) -> Result<(Outcome, bool), HttpClientError> {
        let before_renewal = schedule.delay_before_renewal();
        // The call may have waited for the response's body until the deadline.
        if leaves_no_time(self.deadline, before_renewal) {
            return Ok((outcome, false));
        }
        if !before_renewal.is_zero() {
            if !self.hop.body.can_be_sent() || self.would_be_refused_after(before_renewal) {
                return Ok((outcome, false));
            }
            outcome = sleep_and_buffer(outcome, before_renewal).await;
        }
        let replays = loop {
            let error = match self.renew_within_deadline().await {
                Ok(replays) => break replays,
                Err(error) => error,
            };
            let Some(delay) = self.try_begin_token_retry(&error) else {
                return Err(self.final_error_without_token(error));
            };
            outcome = sleep_and_buffer(outcome, delay).await;
        };
        let before_replay = schedule.delay_before_replay();
        if !replays
            || leaves_no_time(self.deadline, before_replay)
            || self.would_be_refused_after(before_replay)
        {
            return Ok((outcome, false));
        }
        tracing::debug!(method = %self.hop.method, "replaying with another token after a 401");
        Ok((outcome, true))
    }

    /// Runs one renewal of the rejected token, at most until the deadline. Returns whether to replay the request.
    async fn renew_within_deadline(&mut self) -> Result<bool, HttpClientError> {
        let can_be_sent = self.hop.body.can_be_sent();
        let Some(session) = &mut self.auth else { return Ok(false) };
        match within(self.deadline, session.renew_rejected_token(can_be_sent)).await {
            Ok(replays) => Ok(replays?),
            Err(_) if can_be_sent => Err(HttpClientError::total_timeout()),
            Err(_) => Ok(false),
        }
    }

    /// Begins a retry: takes it from the budget, counts it in `retries`, and returns the delay before it. Changes
    /// nothing and returns `None` if the strategy wants no retry, or the deadline, the breaker, the budget or the
    /// request itself forbids one (invariant 21).
    pub(super) fn try_begin_retry(&mut self, outcome: &Outcome, body: Option<&[u8]>) -> Option<Duration> {
        let examined = match outcome {
            Ok(response) => RetryOutcome::Response(ExaminedResponse::of(response, body)),
            Err(error) if error.is_of_the_exchange() => RetryOutcome::Error(error),
            Err(_) => return None,
        };
        self.withdraw_retry(&examined)
    }

    /// Begins a retry of an attempt that got no token. It takes from the budget as [`try_begin_retry`] does, but
    /// its delay lasts at least until the cool-down of the token source is over.
    ///
    /// [`try_begin_retry`]: Self::try_begin_retry
    pub(super) fn try_begin_token_retry(&mut self, error: &HttpClientError) -> Option<Duration> {
        error.is_transient_lack_of_token().then_some(())?;
        self.withdraw_retry(&RetryOutcome::Error(error))
    }

    /// Takes a retry from the budget and counts it, if the request may be sent again and there is time.
    fn withdraw_retry(&mut self, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        let policy = self.client.retries.as_ref()?;
        if !self.may_be_repeated() {
            return None;
        }
        let retry = self.retries + 1;
        let delay = policy.delay(retry, outcome)?;
        if leaves_no_time(self.deadline, delay)
            || self.would_be_refused_after(delay)
            || !policy.try_withdraw()
        {
            return None;
        }
        tracing::debug!(method = %self.hop.method, retry, ?delay, "trying again");
        self.retries = retry;
        Some(delay)
    }

    /// Waits before another attempt. If the deadline or the breaker may still prevent that attempt, keeps the
    /// response for the caller; else drops it at once, which frees its connection.
    pub(super) async fn pause(&mut self, previous: PreviousAttempt, delay: Duration) {
        let PreviousAttempt { outcome, retries } = previous;
        if outcome.is_ok() && self.client.settings.breaker.is_none() && self.deadline.is_none() {
            drop(outcome);
            tokio::time::sleep(delay).await;
        } else {
            let outcome = sleep_and_buffer(outcome, delay).await;
            self.previous = Some(Box::new(PreviousAttempt { outcome, retries }));
        }
    }

    /// Whether the request may be sent once more after it may have arrived (RFC 9110 9.2.2).
    pub(super) fn may_be_repeated(&self) -> bool {
        let is_idempotent = self.hop.method.is_idempotent()
            || self.hop.headers.get(IDEMPOTENCY_KEY).is_some_and(|key| !is_blank(key))
            || self.options.retry_any_method;
        is_idempotent && self.hop.body.can_be_sent()
    }

    /// Whether the breaker would refuse a request after this delay. If so, the call does not wait for it.
    fn would_be_refused_after(&self, delay: Duration) -> bool {
        self.client
            .settings
            .breaker
            .as_ref()
            .is_some_and(|breaker| breaker.refuses_after(delay, &self.hop.url))
    }
}

/// Sleeps. Meanwhile reads the beginning of the response's body and puts it back. Most bodies are complete then, so
/// they hold no connection during the wait.
async fn sleep_and_buffer(outcome: Outcome, delay: Duration) -> Outcome {
    let pause = tokio::time::sleep(delay);
    let kept = match outcome {
        Ok(response) => Ok(peek(*response, MAX_EXAMINED, Some(pause.deadline())).await.response.into()),
        Err(error) => Err(error),
    };
    pause.await;
    kept
}
