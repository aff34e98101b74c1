//! One request and its response.

use std::time::Duration;

use http::HeaderMap;
use reqwest::{Request, Response};
use tokio::time::Instant;
use url::Url;

use super::{Call, Outcome, leaves_no_time};
use crate::HttpClientError;
use crate::body::StreamWatch;
use crate::breaker::{CircuitBreaker, Permit, Verdict};
use crate::hooks::OutgoingRequest;
use crate::logging::LogEntry;
use crate::timing::within;

impl<'a> Call<'a> {
    /// Makes one attempt. The error is the reason why the client did not send the request.
    pub(super) async fn exchange(&mut self) -> Result<Outcome, HttpClientError> {
        // Order: the breaker first. No token is fetched for a request that the breaker refuses.
        let permit = self.client.settings.breaker.as_ref().map(|breaker| self.admit(breaker)).transpose()?;
        let mut headers = HeaderMap::clone(&self.hop.headers);
        self.add_credential(&mut headers).await?;
        let (sent, exchange) = self.start(headers, permit)?;
        let (outcome, took) = exchange.finish(sent.await);
        self.exchange_time = took;
        Ok(outcome)
    }

    /// Starts to send a request that has its credential.
    // Speed: not `async`. A future would hold all local variables of this function while it waits for the response.
    fn start(
        &mut self,
        mut headers: HeaderMap,
        mut permit: Option<Permit>,
    ) -> Result<(impl Future<Output = reqwest::Result<Response>> + use<'a>, Exchange<'a>), HttpClientError>
    {
        if !self.client.settings.hooks.request.is_empty() {
            self.run_request_hooks(&mut headers)?;
        }
        // Order: only after the token and the hooks, because both take time of the call.
        let timeout = self.attempt_timeout()?;
        if let Some(permit) = &mut permit {
            permit.confirm(timeout).map_err(|open| HttpClientError::refused(open, self.attempts))?;
        }
        let is_timeout_conclusive = self.is_timeout_conclusive(timeout);
        if leaves_no_time(self.deadline, Duration::ZERO) {
            // The server has not seen the request, so drop the permit without a verdict.
            return Err(HttpClientError::total_timeout());
        }
        let client = self.client;
        let http = client.http_for(&self.hop.url)?;
        self.previous = None;
        self.attempts += 1;
        self.remember_headers(&headers);
        let mut request = Request::new(self.hop.method.clone(), Url::clone(&self.hop.url));
        *request.headers_mut() = headers;
        if self.options.timeout.is_some() || self.deadline.is_some() {
            *request.timeout_mut() = Some(timeout);
        }
        let (body, stream) = self.hop.body.take_for_sending();
        *request.body_mut() = body;
        let logging = client.settings.logging.as_ref();
        let entry = logging
            .and_then(|logging| {
                let (number, earlier) = (self.attempts, self.carried.earlier());
                logging.begin(
                    &request,
                    &self.hop.url,
                    &client.settings.trust,
                    number,
                    &self.extensions,
                    earlier,
                )
            })
            .map(Box::new);
        let is_timed = entry.is_some() || !client.settings.hooks.response.is_empty();
        let begun = is_timed.then(Instant::now);
        Ok((http.execute(request), Exchange { permit, is_timeout_conclusive, stream, entry, begun }))
    }

    /// Asks the breaker for a permit.
    fn admit(&self, breaker: &CircuitBreaker) -> Result<Permit, HttpClientError> {
        let admitted = breaker.admit(&self.hop.url, self.attempt_timeout()?);
        admitted.map_err(|open| HttpClientError::refused(open, self.attempts))
    }

    /// How long an attempt that begins now may take, with its body: its time-out, or less if the deadline is near.
    fn attempt_timeout(&self) -> Result<Duration, HttpClientError> {
        let timeout = self.options.timeout.unwrap_or(self.client.settings.timeout);
        let Some(deadline) = self.deadline else { return Ok(timeout) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(HttpClientError::total_timeout()) } else { Ok(timeout.min(left)) }
    }

    /// Adds the credentials of an attempt, and fetches the token that is missing.
    async fn add_credential(&mut self, headers: &mut HeaderMap) -> Result<(), HttpClientError> {
        let Some(session) = &mut self.auth else { return Ok(()) };
        session.start_at(self.hop.is_trusted());
        let request = self.hop.auth_request();
        while let Some(fetch) = session.add_credentials(&request, headers)? {
            let fetched = within(self.deadline, fetch.run()).await;
            session.supply_token(fetched.map_err(|_| HttpClientError::total_timeout())??);
        }
        Ok(())
    }

    /// Runs the request hooks, which may change headers.
    fn run_request_hooks(&mut self, headers: &mut HeaderMap) -> Result<(), HttpClientError> {
        let carrying = self.auth.as_ref().and_then(|auth| auth.credential_header(headers)).cloned();
        self.client.settings.hooks.before_request(&mut OutgoingRequest {
            method: &self.hop.method,
            url: &self.hop.url,
            headers,
            body: self.hop.body.bytes(),
            attempt: self.attempts + 1,
            is_trusted: self.hop.is_trusted(),
            trust: &self.client.settings.trust,
            extensions: &mut self.extensions,
        })?;
        // A hook may have replaced the token. Then a response is no verdict on the token that the session chose.
        if let Some(auth) = &mut self.auth
            && auth.credential_header(headers) != carrying.as_ref()
        {
            auth.forget_sent();
        }
        Ok(())
    }

    /// Whether an attempt that runs out of this time counts as a failure of the server: only if the time is at
    /// least half of the first attempt's. Token calls and delays may leave a later attempt too little time.
    fn is_timeout_conclusive(&self, timeout: Duration) -> bool {
        let Some(deadline) = self.deadline else { return true };
        let attempt = self.options.timeout.unwrap_or(self.client.settings.timeout);
        timeout >= attempt.min(deadline.saturating_duration_since(self.started)) / 2
    }
}

/// A request under way, with the breaker, the stream and the log that learn its outcome.
struct Exchange<'a> {
    permit: Option<Permit>,
    /// Whether a time-out counts as a failure of the server.
    is_timeout_conclusive: bool,
    stream: Option<StreamWatch>,
    // Speed: boxed, because every call moves this struct and most have no log.
    entry: Option<Box<LogEntry<'a>>>,
    /// When the request was sent, if a response hook or the log needs it.
    begun: Option<Instant>,
}

impl Exchange<'_> {
    /// Reports the outcome to the breaker and the log. Returns it with the time that the exchange took; zero if
    /// nothing needs it.
    fn finish(self, sent: reqwest::Result<Response>) -> (Outcome, Duration) {
        let took = self.begun.map(|begun| begun.elapsed()).unwrap_or_default();
        let outcome =
            sent.map(Box::new).map_err(|error| match self.stream.and_then(|stream| stream.failure()) {
                Some(failure) => HttpClientError::request_body(failure),
                None => HttpClientError::exchange(&error),
            });
        if let Some(permit) = self.permit
            && let Some(verdict) = verdict(&outcome)
            && (self.is_timeout_conclusive || !outcome.as_ref().is_err_and(HttpClientError::is_timeout))
        {
            permit.record(verdict);
        }
        let outcome = match (self.entry, outcome) {
            (None, outcome) => outcome,
            (Some(entry), Ok(response)) => Ok(Box::new(entry.log_response(*response, took))),
            (Some(entry), Err(error)) => {
                entry.log_error(&error, took);
                Err(error)
            }
        };
        (outcome, took)
    }
}

/// The breaker's verdict on the server. `None` if the outcome says nothing about the server, for example because
/// the client could not send the request.
fn verdict(outcome: &Outcome) -> Option<Verdict> {
    match outcome {
        Ok(response) if response.status().is_server_error() => Some(Verdict::Failure),
        Ok(_) => Some(Verdict::Success),
        Err(error) => error.is_of_the_exchange().then_some(Verdict::Failure),
    }
}
