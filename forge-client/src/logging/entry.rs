use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Extensions, Method, StatusCode};
use reqwest::{Request, Response};

use super::body::LoggedBody;
use super::mask::{Mask, RequestContent, Secrets};
use super::{Logging, TARGET};
use crate::HttpClientError;
use crate::hooks::CorrelationId;
use crate::origin::{RequestUrl, Trust};

/// The event of an attempt that is under way.
pub(crate) struct LogEntry<'a> {
    logging: Logging,
    trust: &'a Trust,
    mask: Mask,
    attempt: AttemptInfo,
    request_headers: Option<String>,
    request_body: Option<String>,
}

/// The attempt that an event is about.
#[derive(Clone)]
pub(super) struct AttemptInfo {
    pub(super) method: Method,
    pub(super) url: RequestUrl,
    pub(super) number: u32,
    pub(super) correlation_id: Option<Arc<str>>,
}

impl AttemptInfo {
    pub(super) fn of(method: &Method, url: &RequestUrl, number: u32, extensions: &Extensions) -> Self {
        Self {
            method: method.clone(),
            url: url.clone(),
            number,
            correlation_id: CorrelationId::of(extensions).map(Arc::from),
        }
    }
}

impl<'a> LogEntry<'a> {
    pub(super) fn new(
        logging: &Logging,
        request: &Request,
        trust: &'a Trust,
        attempt: AttemptInfo,
        earlier: Option<&Secrets>,
    ) -> Self {
        let Logging { log_headers, log_body, max_body, .. } = *logging;
        let headers = request.headers();
        let mask = if log_headers || log_body {
            Mask::of(&RequestContent::of(request), trust, logging.more_names(), earlier)
        } else {
            Mask::none()
        };
        let body = request.body().and_then(reqwest::Body::as_bytes).filter(|_| log_body);
        Self {
            request_headers: log_headers.then(|| mask.headers(headers, &attempt.url, trust)),
            request_body: body.map(|body| mask.body(headers.get(CONTENT_TYPE), body, max_body)),
            logging: logging.clone(),
            trust,
            mask,
            attempt,
        }
    }

    /// Logs the head of a response. If bodies are logged, wraps the body, so that it is logged when it was read.
    pub(crate) fn log_response(self, response: Response, elapsed: Duration) -> Response {
        let Logging { log_headers, log_body, max_body, .. } = self.logging;
        let headers =
            log_headers.then(|| self.mask.answer_headers(response.headers(), &self.attempt.url, self.trust));
        self.log_status(response.status(), headers.as_deref(), elapsed);
        if !log_body {
            return response;
        }
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let content_type = parts.headers.get(CONTENT_TYPE).cloned();
        let body = LoggedBody::new(body, content_type, max_body, self.mask, self.attempt);
        http::Response::from_parts(parts, reqwest::Body::wrap(body)).into()
    }

    /// Logs that no response came.
    pub(crate) fn log_error(self, error: &HttpClientError, elapsed: Duration) {
        let AttemptInfo { method, url, number, correlation_id } = &self.attempt;
        tracing::warn!(
            target: TARGET,
            %method,
            url = url.shown(),
            attempt = number,
            correlation_id = correlation_id.as_deref(),
            elapsed_ms = millis(elapsed),
            request_headers = self.request_headers,
            request_body = self.request_body,
            error = error as &dyn std::error::Error,
            "no response"
        );
    }

    fn log_status(&self, status: StatusCode, response_headers: Option<&str>, elapsed: Duration) {
        let AttemptInfo { method, url, number, correlation_id } = &self.attempt;
        // The level of an event must be a constant.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    %method,
                    url = url.shown(),
                    attempt = number,
                    correlation_id = correlation_id.as_deref(),
                    status = status.as_u16(),
                    elapsed_ms = millis(elapsed),
                    request_headers = self.request_headers,
                    request_body = self.request_body,
                    response_headers,
                    "response received"
                )
            };
        }
        if status.is_client_error() || status.is_server_error() {
            log!(warn);
        } else {
            log!(info);
        }
    }
}

fn millis(duration: Duration) -> f64 {
    // To the microsecond, so that it reads well.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
