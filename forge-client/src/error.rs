mod construction;

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use forge_core::{AuthenticationError, ConfigError, write_chain};
use http::{Method, StatusCode};

use crate::CircuitOpen;

/// Why a call brought no usable response.
///
/// The error names the method, and the URL without its query. Neither `Display` nor `Debug` nor the
/// [`source`](Error::source) chain holds a credential, unless a hook or the stream of a request's body put one
/// into its own error.
///
/// The error shows the path, except when a redirect leads to a path that repeats a secret of the call. If an
/// API takes a secret in the path (`/bot<token>/…`), log neither the error nor its sources, but the results of
/// the predicates and of [`status_code`](Self::status_code).
#[doc(alias = "HttpClientException")]
pub struct HttpClientError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    request: Option<(Method, String)>,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// How many requests were sent.
    attempts: u32,
    /// The beginning of the response's body, if the caller asked for it.
    body: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorKind {
    Builder,
    Authentication,
    Timeout,
    Connect,
    Tls,
    Redirect(&'static str),
    Hook,
    Status(StatusCode),
    Parse,
    BodyTooLarge(usize),
    Exchange,
    RequestBody,
    /// With the number of requests sent before.
    CircuitOpen(u32),
    /// With the number of retries; the source is the error of the last attempt.
    MaxRetries(u32),
}

impl HttpClientError {
    /// Whether a setting or an argument is invalid. The client sent nothing.
    #[doc(alias = "RequestBuildException")]
    #[must_use]
    pub fn is_builder(&self) -> bool {
        self.0.kind == ErrorKind::Builder
    }

    /// Whether the client got no token; [`authentication_error`](Self::authentication_error) says why.
    ///
    /// A call also ends so after a 401, if the renewal of the token fails: its error says more than the 401. Only
    /// if the client [cannot send the body again](crate::RequestBuilder::body_stream) does the caller get the 401.
    #[doc(alias = "AuthenticationException")]
    #[must_use]
    pub fn is_authentication(&self) -> bool {
        self.cause() == ErrorKind::Authentication
    }

    /// Whether no response came in time: neither in that of an attempt, nor in that of the
    /// [whole call](crate::HttpClientConfigBuilder::with_total_timeout).
    #[doc(alias = "TimeoutException")]
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.cause() == ErrorKind::Timeout
    }

    /// Whether the client could not connect. Failures of TLS are among these errors.
    #[doc(alias = "ConnectionException")]
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.cause(), ErrorKind::Connect | ErrorKind::Tls)
    }

    /// Whether the TLS handshake failed, for example because no trusted authority signed the certificate.
    #[doc(alias = "SSLException")]
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.cause() == ErrorKind::Tls
    }

    /// Whether the client refused a redirect: one too many, from https to http, or with a body to another origin.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Redirect(_))
    }

    /// Whether a hook failed and so stopped the call. The hook's error is the [`source`](Error::source).
    #[must_use]
    pub fn is_hook(&self) -> bool {
        self.0.kind == ErrorKind::Hook
    }

    /// Whether the error is from [`error_for_status`](crate::HttpResponse::error_for_status) or
    /// [`error_for_status_with_body`](crate::HttpResponse::error_for_status_with_body).
    #[doc(alias = "HttpStatusException")]
    #[must_use]
    pub fn is_status(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Status(_))
    }

    /// Whether retries brought no response, or no token. The [`source`](Error::source) is the error of the last
    /// attempt. The other predicates answer for that error: [`is_timeout`](Self::is_timeout),
    /// [`is_connect`](Self::is_connect), …
    #[doc(alias = "MaxRetryException")]
    #[must_use]
    pub fn is_max_retries(&self) -> bool {
        matches!(self.0.kind, ErrorKind::MaxRetries(_))
    }

    /// Whether the circuit breaker refused the request, or the target of a redirect, because the server has been
    /// failing. [`circuit_open`](Self::circuit_open) says how long nothing is sent there.
    ///
    /// If the breaker refuses a retry, or the replay after a 401, the caller gets the last response or error
    /// instead of this error.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        matches!(self.0.kind, ErrorKind::CircuitOpen(_))
    }

    /// Whether the stream of the request's body failed. That is no failure of the server. The stream's own error is
    /// the [`source`](Error::source), unchanged.
    #[must_use]
    pub fn is_request_body(&self) -> bool {
        self.0.kind == ErrorKind::RequestBody
    }

    /// Whether the response's body is larger than
    /// [`with_max_body`](crate::HttpClientConfigBuilder::with_max_body) allows the client to keep in memory.
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        matches!(self.0.kind, ErrorKind::BodyTooLarge(_))
    }

    /// Whether the response's body could not be parsed, as JSON for example.
    #[doc(alias = "ResponseParseException")]
    #[must_use]
    pub fn is_parse(&self) -> bool {
        self.0.kind == ErrorKind::Parse
    }

    /// The status, if [`is_status`](Self::is_status).
    #[must_use]
    pub fn status_code(&self) -> Option<StatusCode> {
        match self.0.kind {
            ErrorKind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// How many requests the call sent before it failed: one, and one more for each retry, each replay after a
    /// 401 and each redirect. 0: it sent none.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The first 64 KiB of the response's body, if
    /// [`error_for_status_with_body`](crate::HttpResponse::error_for_status_with_body) made the error; else
    /// `None`.
    ///
    /// The body is as the server sent it. Nothing in it is masked, and a server may echo a secret. Neither
    /// `Display` nor `Debug` shows it. Do not log it; read the fields that you know.
    ///
    /// ```no_run
    /// # async fn run(client: requestforge::HttpClient) -> Result<(), requestforge::HttpClientError> {
    /// let error = match client.get("/orders/7").send().await?.error_for_status_with_body().await {
    ///     Ok(order) => return Ok(println!("{}", order.text().await?)),
    ///     Err(error) => error,
    /// };
    /// let body: Option<serde_json::Value> = error.body().and_then(|body| serde_json::from_slice(body).ok());
    /// if body.is_some_and(|body| body["code"] == "unknown_order") {
    ///     println!("there is no such order");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "response_body")]
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.0.body.as_deref()
    }

    /// The invalid setting and what was expected, if [`is_builder`](Self::is_builder).
    #[must_use]
    pub fn config_error(&self) -> Option<&ConfigError> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Why the client got no token, if [`is_authentication`](Self::is_authentication).
    ///
    /// ```no_run
    /// # async fn run(client: requestforge::HttpClient) {
    /// match client.get("/protected").send().await {
    ///     Ok(response) => println!("{}", response.status_code()),
    ///     Err(error) => match error.authentication_error() {
    ///         Some(auth) => eprintln!("authentication failed: {}", auth.service_name()),
    ///         None => eprintln!("{error}"),
    ///     },
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn authentication_error(&self) -> Option<&AuthenticationError> {
        self.last().0.source.as_deref()?.downcast_ref()
    }

    /// The origin whose circuit is open, and for how long, if [`is_circuit_open`](Self::is_circuit_open).
    #[must_use]
    pub fn circuit_open(&self) -> Option<&CircuitOpen> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Whether the client may have sent the request, and no response came. The client asks the retry strategy about
    /// such an error.
    pub(crate) fn is_of_the_exchange(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Timeout | ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Exchange)
    }

    /// Whether the client sent nothing because it got no token, and may get one later. The client asks the retry
    /// strategy about such an error, too.
    pub(crate) fn is_transient_lack_of_token(&self) -> bool {
        self.0.kind == ErrorKind::Authentication
            && self.authentication_error().is_some_and(AuthenticationError::is_transient)
    }

    /// The kind of the error; after retries, that of the last attempt.
    fn cause(&self) -> ErrorKind {
        self.last().0.kind
    }

    /// The error of the last attempt.
    fn last(&self) -> &Self {
        let last = self.0.source.as_deref().filter(|_| self.is_max_retries());
        last.and_then(|last| last.downcast_ref::<Self>()).unwrap_or(self)
    }
}

impl fmt::Display for HttpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((method, url)) = &self.0.request {
            write!(f, "{method} {url}: ")?;
        }
        match &self.0.kind {
            // A `ConfigError` names the field. A reader who sees only this line needs it.
            ErrorKind::Builder => match &self.0.source {
                Some(error) => error.fmt(f),
                None => f.write_str("invalid setting"),
            },
            ErrorKind::Authentication => f.write_str("authentication failed"),
            ErrorKind::Timeout => f.write_str("no response in time"),
            ErrorKind::Connect => f.write_str("could not connect"),
            ErrorKind::Tls => f.write_str("could not set up TLS"),
            ErrorKind::Redirect(refused) => write!(f, "redirect refused: {refused}"),
            ErrorKind::Hook => f.write_str("a hook stopped the call"),
            ErrorKind::Status(status) => write!(f, "status {status}"),
            ErrorKind::Parse => f.write_str("the response's body could not be parsed"),
            ErrorKind::BodyTooLarge(limit) => write!(f, "the response's body is larger than {limit} bytes"),
            ErrorKind::Exchange => f.write_str("the exchange failed"),
            ErrorKind::RequestBody => f.write_str("the request's body could not be read"),
            ErrorKind::CircuitOpen(0) => f.write_str("request not sent: the server has been failing"),
            ErrorKind::CircuitOpen(_) => f.write_str("no further request sent: the server has been failing"),
            ErrorKind::MaxRetries(retries) => {
                let lacking = if self.is_authentication() { "token" } else { "response" };
                let times = if *retries == 1 { "retry" } else { "retries" };
                write!(f, "no {lacking} after {retries} {times}")
            }
        }
    }
}

/// One line with all causes, because a `main` that returns the error prints its `Debug`.
impl fmt::Debug for HttpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(self, f)
    }
}

impl Error for HttpClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let mut source: &(dyn Error + 'static) = self.0.source.as_deref()?;
        // `Display` shows the `ConfigError` itself.
        if self.is_builder() {
            return source.source();
        }
        // Each layer of `reqwest` has wrapped the stream's error into one of its own.
        while self.is_request_body()
            && source.is::<reqwest::Error>()
            && let Some(said) = source.source()
        {
            source = said;
        }
        Some(source)
    }
}

#[cfg(test)]
mod tests;
