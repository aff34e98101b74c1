use std::error::Error;
use std::fmt;

use bytes::Bytes;
use forge_core::{AuthenticationError, ConfigError, NetworkError, write_chain};
use http::{Method, StatusCode};

use crate::CircuitOpen;
use crate::target::RequestUrl;

/// A request that brought no usable answer, and why.
///
/// Names method and URL without its query; neither `Display` nor `Debug` nor the
/// [`source`](Error::source) chain holds a credential, unless a hook or the stream of a request's body put one
/// into its own error.
///
/// It shows the path, except when a redirect leads to a path that repeats a secret of the call. If an API takes a
/// secret in the path (`/bot<token>/…`), log neither the error nor its sources, but the results of the predicates
/// and of [`status_code`](Self::status_code).
pub struct HttpClientError(Box<Inner>);

struct Inner {
    kind: Kind,
    request: Option<(Method, String)>,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// How many requests were sent.
    attempts: u32,
    /// The beginning of the answer's body, if the caller asked for it.
    body: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
    /// After so many requests.
    CircuitOpen(u32),
    /// Why is the source's.
    MaxRetries(u32),
}

const HAS_TLS: bool = cfg!(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls"));

impl HttpClientError {
    /// A setting or an argument cannot be; nothing was sent.
    #[must_use]
    pub fn is_builder(&self) -> bool {
        self.0.kind == Kind::Builder
    }

    /// No token could be had; [`authentication_error`](Self::authentication_error) says why.
    ///
    /// So it is also after a 401, if the request would have been sent again with another token: why there is
    /// none says more than the 401. A body that [can be sent only once](crate::RequestBuilder::body_stream)
    /// gets its 401.
    #[must_use]
    pub fn is_authentication(&self) -> bool {
        self.cause() == Kind::Authentication
    }

    /// No answer in time, neither that of an attempt nor that of the
    /// [whole call](crate::HttpClientConfigBuilder::with_total_timeout).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.cause() == Kind::Timeout
    }

    /// No connection; TLS failures among it.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.cause(), Kind::Connect | Kind::Tls)
    }

    /// The TLS handshake failed, as with a certificate that nobody vouches for.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.cause() == Kind::Tls
    }

    /// A redirect was refused: too many of them, from https to http, or with a body to another
    /// origin.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self.0.kind, Kind::Redirect(_))
    }

    /// A hook failed, and stopped the call; what it said is the [`source`](Error::source).
    #[must_use]
    pub fn is_hook(&self) -> bool {
        self.0.kind == Kind::Hook
    }

    /// The error is from [`error_for_status`](crate::HttpResponse::error_for_status) or
    /// [`error_for_status_with_body`](crate::HttpResponse::error_for_status_with_body).
    #[must_use]
    pub fn is_status(&self) -> bool {
        matches!(self.0.kind, Kind::Status(_))
    }

    /// There was no answer, or no token, also after retries. The [`source`](Error::source) is the error of the
    /// last attempt, and the other predicates tell what it was: [`is_timeout`](Self::is_timeout),
    /// [`is_connect`](Self::is_connect), …
    #[must_use]
    pub fn is_max_retries(&self) -> bool {
        matches!(self.0.kind, Kind::MaxRetries(_))
    }

    /// Nothing was sent, as the server has been failing; or a redirect led to such a server. It may be well
    /// again soon; [`circuit_open`](Self::circuit_open) says when that will be tried.
    ///
    /// What came of a call before is not hidden by this: where a retry, or the replay after a 401, is refused,
    /// the last answer or error goes to the caller.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        matches!(self.0.kind, Kind::CircuitOpen(_))
    }

    /// The stream that was to be the request's body failed, which says nothing of the server. What it said is
    /// the [`source`](Error::source), as it came: it is the caller's own.
    #[must_use]
    pub fn is_request_body(&self) -> bool {
        self.0.kind == Kind::RequestBody
    }

    /// The body is larger than the client's
    /// [`with_max_body`](crate::HttpClientConfigBuilder::with_max_body) allows to be kept in memory.
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        matches!(self.0.kind, Kind::BodyTooLarge(_))
    }

    /// The body is not what it was read as.
    #[must_use]
    pub fn is_parse(&self) -> bool {
        self.0.kind == Kind::Parse
    }

    /// The status, where [`is_status`](Self::is_status).
    #[must_use]
    pub fn status_code(&self) -> Option<StatusCode> {
        match self.0.kind {
            Kind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// How many requests the call sent before it failed: one, and one more for each retry, each replay after a
    /// 401 and each redirect. 0: it sent none.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The first 64 KiB of the answer's body, if
    /// [`error_for_status_with_body`](crate::HttpResponse::error_for_status_with_body) made the error; else
    /// `None`.
    ///
    /// The body is as the server sent it. Nothing in it is masked, and a server may echo a secret. Neither
    /// `Display` nor `Debug` shows it. Do not log it; read the fields that you know.
    ///
    /// ```no_run
    /// # async fn run(client: forge_client::HttpClient) -> Result<(), forge_client::HttpClientError> {
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
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.0.body.as_deref()
    }

    /// Which setting cannot be and what was expected, where [`is_builder`](Self::is_builder).
    #[must_use]
    pub fn config_error(&self) -> Option<&ConfigError> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Why no token could be had, where [`is_authentication`](Self::is_authentication).
    ///
    /// ```no_run
    /// # async fn run(client: forge_client::HttpClient) {
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

    /// Whose circuit is open and for how long, where [`is_circuit_open`](Self::is_circuit_open).
    #[must_use]
    pub fn circuit_open(&self) -> Option<&CircuitOpen> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Whether the request may have been sent, and no answer came: what a retry strategy is asked about.
    pub(crate) fn is_of_the_exchange(&self) -> bool {
        matches!(self.0.kind, Kind::Timeout | Kind::Connect | Kind::Tls | Kind::Exchange)
    }

    /// Whether the client sent nothing because it got no token, and may get one later. The client asks the retry
    /// strategy about such an error, too.
    pub(crate) fn is_transient_lack_of_token(&self) -> bool {
        self.0.kind == Kind::Authentication
            && self.authentication_error().is_some_and(AuthenticationError::is_transient)
    }

    /// What went wrong, in the last attempt if there were several.
    fn cause(&self) -> Kind {
        self.last().0.kind
    }

    /// The error of the last attempt.
    fn last(&self) -> &Self {
        let last = self.0.source.as_deref().filter(|_| self.is_max_retries());
        last.and_then(|last| last.downcast_ref::<Self>()).unwrap_or(self)
    }

    #[cold]
    fn new(kind: Kind) -> Self {
        Self(Box::new(Inner { kind, request: None, source: None, attempts: 0, body: None }))
    }

    fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    #[cold]
    pub(crate) fn at(mut self, method: &Method, url: &RequestUrl) -> Self {
        self.0.request.get_or_insert_with(|| (method.clone(), url.shown().to_owned()));
        self
    }

    /// The same error of a call that sent this many requests.
    #[cold]
    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_body(mut self, body: Bytes) -> Self {
        self.0.body = Some(body);
        self
    }

    pub(crate) fn builder(field: &'static str, expected: &str) -> Self {
        ConfigError::new(field, expected).into()
    }

    pub(crate) fn redirect(refused: &'static str) -> Self {
        Self::new(Kind::Redirect(refused))
    }

    pub(crate) fn hook(source: Box<dyn Error + Send + Sync>) -> Self {
        Self::new(Kind::Hook).with_source(source)
    }

    pub(crate) fn status(status: StatusCode) -> Self {
        Self::new(Kind::Status(status))
    }

    pub(crate) fn parse(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Parse).with_source(source)
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        Self::new(Kind::BodyTooLarge(limit))
    }

    pub(crate) fn refused(open: CircuitOpen, attempts: u32) -> Self {
        Self::new(Kind::CircuitOpen(attempts)).with_source(open)
    }

    pub(crate) fn request_body(error: reqwest::Error) -> Self {
        Self::new(Kind::RequestBody).with_source(error)
    }

    pub(crate) fn total_timeout() -> Self {
        Self::new(Kind::Timeout)
    }

    pub(crate) fn max_retries(retries: u32, last: Self) -> Self {
        Self::new(Kind::MaxRetries(retries)).with_source(last)
    }

    #[cold]
    pub(crate) fn exchange(error: &reqwest::Error) -> Self {
        let kind = match () {
            () if error.is_timeout() => Kind::Timeout,
            () if is_tls(error) => Kind::Tls,
            () if error.is_connect() => Kind::Connect,
            () if error.is_builder() => Kind::Builder,
            () => Kind::Exchange,
        };
        let failure = Self::new(kind);
        let is_https = error.url().is_some_and(|url| url.scheme() == "https");
        match kind {
            Kind::Timeout => failure,
            Kind::Connect if is_https && !HAS_TLS => failure.with_source(NetworkError::without_tls()),
            _ => failure.with_source(NetworkError::of(error)),
        }
    }
}

/// Looks for an error of the TLS library among the causes.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if is_tls_error(error) {
            return true;
        }
        // What an `io::Error` wraps is not its source, and it may be another `io::Error`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
    }
    false
}

fn is_tls_error(error: &(dyn Error + 'static)) -> bool {
    #[cfg(any(feature = "rustls", feature = "rustls-no-provider"))]
    if error.is::<rustls::Error>() {
        return true;
    }
    #[cfg(feature = "native-tls")]
    if error.is::<native_tls::Error>() {
        return true;
    }
    let _ = error;
    false
}

impl From<ConfigError> for HttpClientError {
    fn from(error: ConfigError) -> Self {
        Self::new(Kind::Builder).with_source(error)
    }
}

impl From<AuthenticationError> for HttpClientError {
    fn from(error: AuthenticationError) -> Self {
        Self::new(Kind::Authentication).with_source(error)
    }
}

impl fmt::Display for HttpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((method, url)) = &self.0.request {
            write!(f, "{method} {url}: ")?;
        }
        match &self.0.kind {
            // These name the field; a person who sees no more than this line needs it.
            Kind::Builder => match &self.0.source {
                Some(error) => error.fmt(f),
                None => f.write_str("a setting cannot be"),
            },
            Kind::Authentication => f.write_str("no token could be had"),
            Kind::Timeout => f.write_str("no answer in time"),
            Kind::Connect => f.write_str("no connection"),
            Kind::Tls => f.write_str("no TLS connection"),
            Kind::Redirect(refused) => write!(f, "redirect refused: {refused}"),
            Kind::Hook => f.write_str("a hook stopped the call"),
            Kind::Status(status) => write!(f, "status {status}"),
            Kind::Parse => f.write_str("the body is not what was expected"),
            Kind::BodyTooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Kind::Exchange => f.write_str("the exchange failed"),
            Kind::RequestBody => f.write_str("the request's body could not be read"),
            Kind::CircuitOpen(0) => f.write_str("nothing was sent, as the server has been failing"),
            Kind::CircuitOpen(_) => f.write_str("nothing more was sent, as the server has been failing"),
            Kind::MaxRetries(retries) => {
                let lacking = if self.is_authentication() { "token" } else { "answer" };
                let times = if *retries == 1 { "retry" } else { "retries" };
                write!(f, "no {lacking} after {retries} {times}")
            }
        }
    }
}

/// For people, as this is what a `main` that returns the error prints.
impl fmt::Debug for HttpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(self, f)
    }
}

impl Error for HttpClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let mut source: &(dyn Error + 'static) = self.0.source.as_deref()?;
        // Shown by `Display` already.
        if self.is_builder() {
            return source.source();
        }
        // `reqwest` has put its own around what the stream said, once for each layer of it.
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
mod tests {
    use forge_core::AuthenticationErrorKind;

    use super::*;
    use crate::{
        ExponentialBackoffRetryStrategy, RetryOutcome, RetryStrategy, RetryableError, SimpleRetryStrategy,
    };

    fn is(error: &HttpClientError) -> [bool; 4] {
        [error.is_timeout(), error.is_connect(), error.is_tls(), error.is_max_retries()]
    }

    #[test]
    fn what_main_prints_names_the_causes_in_one_line() {
        let refused = AuthenticationError::new("crm", AuthenticationErrorKind::Connect)
            .with_source(std::io::Error::other("cable cut"));
        let error = HttpClientError::from(refused.clone());
        assert_eq!(format!("{error:?}"), format!("no token could be had: {refused}: cable cut"));
        let error = HttpClientError::from(ConfigError::new("timeout", "a positive duration"));
        assert_eq!(format!("{error:?}"), error.to_string());
    }

    #[test]
    fn after_retries_an_error_still_is_what_the_last_one_was() {
        for (kind, expected) in [
            (Kind::Timeout, [true, false, false]),
            (Kind::Connect, [false, true, false]),
            (Kind::Tls, [false, true, true]),
            (Kind::Exchange, [false, false, false]),
        ] {
            let last = HttpClientError::new(kind);
            assert_eq!(is(&last), [expected[0], expected[1], expected[2], false], "{kind:?}");
            assert!(last.is_of_the_exchange());
            let error = HttpClientError::max_retries(3, last);
            assert_eq!(is(&error), [expected[0], expected[1], expected[2], true], "{kind:?}");
            assert!(!error.is_of_the_exchange(), "it is not retried once more");
        }
    }

    #[test]
    fn a_strategy_retries_the_chosen_errors_only() {
        use RetryableError::{Connect, Interrupted, NoToken, Timeout, Tls};
        let lack_of_token = |kind| HttpClientError::from(AuthenticationError::new("crm", kind));
        let failure = |error| match error {
            Connect => HttpClientError::new(Kind::Connect),
            Tls => HttpClientError::new(Kind::Tls),
            Timeout => HttpClientError::new(Kind::Timeout),
            Interrupted => HttpClientError::new(Kind::Exchange),
            NoToken => lack_of_token(AuthenticationErrorKind::Connect),
        };
        let all = [Connect, Tls, Timeout, Interrupted, NoToken];
        for error in all {
            let failure = failure(error);
            let outcome = RetryOutcome::Error(&failure);
            for chosen in all {
                let simple = SimpleRetryStrategy::new().retryable_errors([chosen]);
                let exponential = ExponentialBackoffRetryStrategy::new().retryable_errors([chosen]);
                let wants =
                    [simple.delay_before_retry(1, &outcome), exponential.delay_before_retry(1, &outcome)];
                assert_eq!(
                    wants.map(|delay| delay.is_some()),
                    [error == chosen; 2],
                    "{error:?} of {chosen:?}"
                );
            }
            let none = SimpleRetryStrategy::new().retryable_errors([]);
            assert_eq!(none.delay_before_retry(1, &outcome), None);
            let default = SimpleRetryStrategy::new().delay_before_retry(1, &outcome);
            assert_eq!(default.is_some(), error != Tls, "{error:?}");
        }
        let lasting = lack_of_token(AuthenticationErrorKind::Configuration);
        let strategy = SimpleRetryStrategy::new().retryable_errors(all);
        assert_eq!(strategy.delay_before_retry(1, &RetryOutcome::Error(&lasting)), None);
    }

    #[test]
    fn inv16_the_body_of_an_answer_is_not_shown() {
        let error = HttpClientError::status(StatusCode::CONFLICT).with_body("canary".into()).after(3);
        assert_eq!((error.body(), error.attempts()), (Some(&b"canary"[..]), 3));
        assert!(!format!("{error} {error:?} {error:#?}").contains("canary"));
    }

    #[test]
    fn a_tls_failure_is_not_retried() {
        for (kind, retried) in [(Kind::Tls, false), (Kind::Connect, true), (Kind::Timeout, true)] {
            let error = HttpClientError::new(kind);
            let delay = SimpleRetryStrategy::new().delay_before_retry(1, &RetryOutcome::Error(&error));
            assert_eq!(delay.is_some(), retried, "{kind:?}");
        }
    }
}
