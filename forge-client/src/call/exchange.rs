//! One request and its answer.

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
    /// Sends one request, unless it is refused before.
    pub(super) async fn exchange(&mut self) -> Result<Outcome, HttpClientError> {
        // First of all: no token is fetched for a request that is not sent.
        let permit = self.client.settings.breaker.as_ref().map(|breaker| self.admit(breaker)).transpose()?;
        let mut headers = HeaderMap::clone(&self.hop.headers);
        self.add_credential(&mut headers).await?;
        let (sent, exchange) = self.start(headers, permit)?;
        let (outcome, took) = exchange.finish(sent.await);
        self.exchange_time = took;
        Ok(outcome)
    }

    /// Puts a request on its way that has its credential.
    // Apart, as a future would go on holding all that is put together here.
    fn start(
        &mut self,
        mut headers: HeaderMap,
        mut permit: Option<Permit>,
    ) -> Result<(impl Future<Output = reqwest::Result<Response>> + use<'a>, Exchange<'a>), HttpClientError>
    {
        if !self.client.settings.hooks.request.is_empty() {
            self.run_request_hooks(&mut headers)?;
        }
        // Tokens and hooks have had their time.
        let timeout = self.attempt_timeout()?;
        if let Some(permit) = &mut permit {
            permit.renew(timeout).map_err(|open| HttpClientError::refused(open, self.attempts))?;
        }
        let is_timeout_conclusive = self.is_timeout_conclusive(timeout);
        if leaves_no_time(self.deadline, Duration::ZERO) {
            // Which says nothing of the server: the permit is given back.
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

    /// Leave to send.
    fn admit(&self, breaker: &CircuitBreaker) -> Result<Permit, HttpClientError> {
        let admitted = breaker.admit(&self.hop.url, self.attempt_timeout()?);
        admitted.map_err(|open| HttpClientError::refused(open, self.attempts))
    }

    /// How long an attempt may take that begins now, its body included.
    fn attempt_timeout(&self) -> Result<Duration, HttpClientError> {
        let timeout = self.options.timeout.unwrap_or(self.client.settings.timeout);
        let Some(deadline) = self.deadline else { return Ok(timeout) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(HttpClientError::total_timeout()) } else { Ok(timeout.min(left)) }
    }

    /// Adds what authenticates an attempt.
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

    /// Lets hooks alter a request.
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
        // Where a hook has put something else into the credential's place, an answer says nothing of it.
        if let Some(auth) = &mut self.auth
            && auth.credential_header(headers) != carrying.as_ref()
        {
            auth.forget_sent();
        }
        Ok(())
    }

    /// Whether no answer within this time says something of the server: it is at least half of what the
    /// first attempt of a call has. What tokens and back-offs leave of a call may be too little.
    fn is_timeout_conclusive(&self, timeout: Duration) -> bool {
        let Some(deadline) = self.deadline else { return true };
        let attempt = self.options.timeout.unwrap_or(self.client.settings.timeout);
        timeout >= attempt.min(deadline.saturating_duration_since(self.started)) / 2
    }
}

/// A request on its way: who wants to know what becomes of it.
struct Exchange<'a> {
    permit: Option<Permit>,
    /// Whether no answer in time says something of the server.
    is_timeout_conclusive: bool,
    stream: Option<StreamWatch>,
    // Boxed, as what most calls do without would be moved with each of them.
    entry: Option<Box<LogEntry<'a>>>,
    /// If anybody asks.
    begun: Option<Instant>,
}

impl Exchange<'_> {
    /// Tells them. Says also how long it took, if anybody asked.
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

/// What an outcome says of the server; nothing where the request did not leave us.
fn verdict(outcome: &Outcome) -> Option<Verdict> {
    match outcome {
        Ok(response) if response.status().is_server_error() => Some(Verdict::Failure),
        Ok(_) => Some(Verdict::Success),
        Err(error) => error.is_of_the_exchange().then_some(Verdict::Failure),
    }
}
