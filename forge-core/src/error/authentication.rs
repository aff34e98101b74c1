use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{OAuthErrorCode, Source, as_source, write_chain};

/// The reason why there is no token.
///
/// A clone is cheap: all callers that waited for one fetch get a clone of its error. Neither `Display` nor `Debug` nor
/// the [`source`](Error::source) chain contains a secret.
///
/// ```
/// use requestforge::{AuthenticationError, AuthenticationErrorKind};
///
/// let error = AuthenticationError::new("crm", AuthenticationErrorKind::Connect);
/// assert_eq!(error.service_name(), "crm");
/// assert!(error.is_transient());
/// ```
#[derive(Clone)]
#[doc(alias = "AuthenticationException")]
#[doc(alias = "TokenRefreshException")]
pub struct AuthenticationError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    service_name: String,
    step: Option<String>,
    kind: AuthenticationErrorKind,
    refresh: bool,
    needs_login: bool,
    delivery: Delivery,
    message: Option<String>,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    cool_down: Option<Duration>,
    source: Option<Source>,
}

/// How far the call came, as far as the transport knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    NothingSent,
    NoAnswer,
    Unknown,
}

/// The kind of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationErrorKind {
    /// The token endpoint refused with an error code (RFC 6749 5.2).
    Refused(OAuthErrorCode),
    /// The token endpoint responded with an error status, and named no error code.
    Status,
    /// The token endpoint's response contains no usable token.
    InvalidResponse,
    /// The connection to the token endpoint failed, or ended before the endpoint responded.
    Connect,
    /// The token endpoint's response is not valid HTTP, was cut off, or has invalid compression.
    UnreadableResponse,
    /// The token endpoint did not respond in time.
    Timeout,
    /// A setting makes the call impossible, such as an insecure token URL or a missing runtime.
    Configuration,
    /// The provider panicked.
    Panicked,
    /// The shared storage did not accept an invalidation.
    Storage,
    /// Any other failure of a provider of your own.
    Other,
}

impl AuthenticationError {
    /// An error of this kind, for this service.
    #[must_use]
    pub fn new(service_name: impl Into<String>, kind: AuthenticationErrorKind) -> Self {
        Self(Arc::new(Inner {
            service_name: service_name.into(),
            step: None,
            kind,
            refresh: false,
            needs_login: false,
            delivery: Delivery::Unknown,
            message: None,
            status: None,
            retry_after: None,
            cool_down: None,
            source: None,
        }))
    }

    /// Adds a message for people. Do not put a secret in it.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        self.with(|inner| inner.message = Some(message.into()))
    }

    /// Adds the cause. Neither its text nor the texts of its own causes may contain a secret.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        self.with(|inner| inner.source = Some(Source::from(source.into())))
    }

    /// Adds the status of the token endpoint's response.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        self.with(|inner| inner.status = Some(status))
    }

    /// Adds the delay that the token endpoint asked for in `Retry-After` (RFC 9110 10.2.3).
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        self.with(|inner| inner.retry_after = Some(delay))
    }

    /// Adds the remaining cool-down: for this long a manager makes no further attempt because of the error. If a
    /// provider is itself based on a manager and returns such an error, the outer manager waits as long as the inner one,
    /// and does not add a back-off of its own.
    #[must_use]
    pub fn with_cool_down(self, left: Duration) -> Self {
        self.with(|inner| inner.cool_down = Some(left))
    }

    /// Sets the pipeline step in which the error happened, and the service. An error that already names a step keeps its
    /// step and its service.
    #[must_use]
    pub fn or_step(self, service_name: &str, step: &str) -> Self {
        if self.0.step.is_some() {
            return self;
        }
        self.with(|inner| {
            service_name.clone_into(&mut inner.service_name);
            inner.step = Some(step.to_owned());
        })
    }

    /// Records that the client sent nothing, because no connection was opened or a setting prevented the call. The call
    /// can be sent again.
    #[must_use]
    pub fn with_nothing_sent(self) -> Self {
        self.with(|inner| inner.delivery = Delivery::NothingSent)
    }

    /// Marks the error as one that only a new login can fix: the refresh token no longer works, and the
    /// provider has no [full grant](crate::TokenProvider::has_full_grant). This makes the error
    /// [permanent](Self::is_permanent).
    #[must_use]
    pub fn with_login_needed(self) -> Self {
        self.with(|inner| inner.needs_login = true)
    }

    /// Marks the connection as closed before the first byte of a response, as happens when a server closes an
    /// idle connection just as a call is sent over it. The provider then repeats a repeatable call at once,
    /// on a new connection. Do not use this for a time-out.
    #[must_use]
    pub fn with_no_answer(self) -> Self {
        self.with(|inner| inner.delivery = Delivery::NoAnswer)
    }

    /// Marks the error as a failed refresh, as opposed to a failed first fetch.
    #[must_use]
    pub fn into_refresh(self) -> Self {
        self.with(|inner| inner.refresh = true)
    }

    /// Sets the service, if the error names none.
    #[must_use]
    pub fn or_service_name(self, service_name: &str) -> Self {
        if self.0.service_name.is_empty() {
            return self.with(|inner| service_name.clone_into(&mut inner.service_name));
        }
        self
    }

    /// The service for which there is no token.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.0.service_name
    }

    /// The pipeline step in which the error happened. `None` outside of a pipeline.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// The kind of the failure.
    #[must_use]
    pub fn kind(&self) -> &AuthenticationErrorKind {
        &self.0.kind
    }

    /// The error code of the token endpoint, if it sent one.
    #[must_use]
    pub fn oauth_error_code(&self) -> Option<&OAuthErrorCode> {
        match &self.0.kind {
            AuthenticationErrorKind::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// The status of the token endpoint's response, if there was a response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// The delay that the token endpoint asked for in `Retry-After`, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The remaining cool-down when a manager returned the error. `None` if no manager is backing off because of it.
    #[must_use]
    pub fn cool_down(&self) -> Option<Duration> {
        self.0.cool_down
    }

    /// Whether the client certainly sent nothing.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.0.delivery == Delivery::NothingSent || self.0.kind == AuthenticationErrorKind::Configuration
    }

    /// Whether the user must log in again: the refresh token no longer works, and the provider has no
    /// [full grant](crate::TokenProvider::has_full_grant).
    #[must_use]
    pub fn needs_login(&self) -> bool {
        self.0.needs_login
    }

    /// Whether the connection ended without a response after at least a part of the request was sent. The
    /// endpoint may or may not have processed the request.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.0.delivery == Delivery::NoAnswer
    }

    /// Whether a refresh failed, and not a first fetch.
    #[must_use]
    #[doc(alias = "TokenRefreshException")]
    pub fn is_refresh(&self) -> bool {
        self.0.refresh
    }

    /// Whether the same call may succeed later.
    ///
    /// | failure | |
    /// | --- | --- |
    /// | no connection, a lost connection, an unreadable response, no response in time | transient |
    /// | [`needs_login`](Self::needs_login), whatever the status and the code | permanent |
    /// | status 408, 425, 429, 503, whatever the body says | transient |
    /// | any other status of 500 and above, unless the body has one of the permanent codes below | transient |
    /// | `temporarily_unavailable`, `server_error`, `slow_down` | transient |
    /// | `invalid_request`, `invalid_client`, `invalid_grant`, `unauthorized_client`, `unsupported_grant_type`, `invalid_scope` | permanent |
    /// | any other code, any other status | permanent |
    /// | no usable token in the response, a panic, any other failure of a provider | neither |
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let by_status =
            || self.is_postponed() || self.0.status.is_some_and(|status| status.is_server_error());
        if self.0.needs_login {
            return false;
        }
        match &self.0.kind {
            AuthenticationErrorKind::Connect
            | AuthenticationErrorKind::UnreadableResponse
            | AuthenticationErrorKind::Timeout => true,
            AuthenticationErrorKind::Status => by_status(),
            // An overloaded gateway has not processed the call, whatever error code it repeats.
            AuthenticationErrorKind::Refused(_) if self.is_postponed() => true,
            AuthenticationErrorKind::Refused(OAuthErrorCode::Other(code)) => {
                by_status()
                    || matches!(code.as_str(), "temporarily_unavailable" | "server_error" | "slow_down")
            }
            _ => false,
        }
    }

    /// Whether the token endpoint's status says that it did not process the call and that a later one may
    /// succeed: 408, 425, 429 or 503 (RFC 9110 15.5.9 and 15.6.4, RFC 8470 5.2, RFC 6585 4), whatever the
    /// body says.
    #[must_use]
    pub fn is_postponed(&self) -> bool {
        matches!(self.0.status.map(|status| status.as_u16()), Some(408 | 425 | 429 | 503))
    }

    /// Whether the same call fails again until a person changes a setting or logs in. See the table of
    /// [`is_transient`](Self::is_transient).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        let refused =
            matches!(self.0.kind, AuthenticationErrorKind::Refused(_) | AuthenticationErrorKind::Status);
        self.0.needs_login || (refused && !self.is_transient())
    }

    /// Whether the token endpoint did not respond in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == AuthenticationErrorKind::Timeout
    }

    /// Whether the code is `invalid_client`: the client is unknown, or its secret is wrong.
    #[must_use]
    pub fn is_invalid_client(&self) -> bool {
        self.oauth_error_code() == Some(&OAuthErrorCode::InvalidClient)
    }

    /// Whether the code is `invalid_grant`: the refresh token or the user's credentials are wrong, expired or revoked.
    #[must_use]
    pub fn is_invalid_grant(&self) -> bool {
        self.oauth_error_code() == Some(&OAuthErrorCode::InvalidGrant)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if !inner.service_name.is_empty() {
            write!(f, "{}: ", inner.service_name)?;
        }
        if let Some(step) = &inner.step {
            write!(f, "step `{step}`: ")?;
        }
        f.write_str(if inner.refresh { "token refresh failed: " } else { "no token: " })?;
        match &inner.kind {
            AuthenticationErrorKind::Refused(code) => {
                write!(f, "the token endpoint refused with `{}`", code.as_str())?;
            }
            AuthenticationErrorKind::Status => {
                f.write_str("the token endpoint responded with an error status")?;
            }
            AuthenticationErrorKind::InvalidResponse => {
                f.write_str("the token endpoint's response contains no usable token")?;
            }
            AuthenticationErrorKind::Connect if inner.delivery == Delivery::NoAnswer => {
                f.write_str("the token endpoint closed the connection without a response")?;
            }
            AuthenticationErrorKind::Connect => f.write_str("cannot connect to the token endpoint")?,
            AuthenticationErrorKind::UnreadableResponse => {
                f.write_str("the token endpoint's response cannot be read")?;
            }
            AuthenticationErrorKind::Timeout => {
                f.write_str("the token endpoint did not respond in time")?;
            }
            AuthenticationErrorKind::Configuration => {
                f.write_str("the configuration does not allow the call")?;
            }
            AuthenticationErrorKind::Panicked => f.write_str("the token provider panicked")?,
            AuthenticationErrorKind::Storage => f.write_str("the token storage failed")?,
            AuthenticationErrorKind::Other => f.write_str("the token provider failed")?,
        }
        if let Some(status) = inner.status {
            write!(f, " (status {})", status.as_u16())?;
        }
        if let Some(message) = &inner.message {
            write!(f, ": {message}")?;
        }
        if inner.needs_login {
            f.write_str("; the user must log in again")?;
        }
        Ok(())
    }
}

/// For people: a `main` that returns the error prints this.
impl fmt::Debug for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(self, f)
    }
}

impl Error for AuthenticationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        as_source(self.0.source.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_the_source_and_display_does_not_repeat_it() {
        let error = AuthenticationError::new("crm", AuthenticationErrorKind::Connect)
            .with_source(std::io::Error::other("refused by peer"));
        let clone = error.clone();
        assert!(clone.source().unwrap().is::<std::io::Error>());
        assert_eq!(clone.to_string(), "crm: no token: cannot connect to the token endpoint");
    }

    #[test]
    fn a_connection_that_ended_is_told_from_one_that_never_was() {
        let cut = AuthenticationError::new("crm", AuthenticationErrorKind::Connect).with_no_answer();
        assert!(cut.is_unanswered() && !cut.is_unsent() && cut.is_transient());
        let told = "crm: no token: the token endpoint closed the connection without a response";
        assert_eq!(cut.to_string(), told);
    }

    #[test]
    fn the_step_in_which_it_happened_is_named_once() {
        let error = AuthenticationError::new("vault", AuthenticationErrorKind::Timeout);
        let error = error.or_step("crm", "app_token").or_step("crm", "user_token").or_service_name("other");
        assert_eq!((error.service_name(), error.step()), ("crm", Some("app_token")));
        let told = "crm: step `app_token`: no token: the token endpoint did not respond in time";
        assert_eq!(error.to_string(), told);
        assert!(error.is_transient());
    }

    #[test]
    fn inv23_an_error_that_only_a_login_mends_says_so_and_is_permanent() {
        let error = AuthenticationError::new("crm", AuthenticationErrorKind::Timeout).into_refresh();
        assert!(error.is_transient() && !error.needs_login());
        let error = error.with_login_needed();
        assert!(error.needs_login() && error.is_permanent() && !error.is_transient());
        let told = "crm: token refresh failed: the token endpoint did not respond in time; the user must log in again";
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn transient_and_permanent_are_told_apart() {
        let status = |code| {
            AuthenticationError::new("s", AuthenticationErrorKind::Status)
                .with_status(StatusCode::from_u16(code).unwrap())
                .is_transient()
        };
        assert!([408, 425, 429, 500, 502, 503, 504].into_iter().all(status));
        assert!(![400, 401, 403, 404].into_iter().any(status));
        for kind in [AuthenticationErrorKind::Timeout, AuthenticationErrorKind::UnreadableResponse] {
            assert!(AuthenticationError::new("s", kind).is_transient());
        }
        let refused = |code: &str, status| {
            AuthenticationError::new("s", AuthenticationErrorKind::Refused(OAuthErrorCode::from(code)))
                .with_status(StatusCode::from_u16(status).unwrap())
        };
        for (code, status, transient) in [
            ("invalid_client", 401, false),
            ("invalid_grant", 500, false),
            ("invalid_grant", 503, true),
            ("invalid_client", 429, true),
            ("scope_invalid", 400, false),
            ("scope_invalid", 503, true),
            ("temporarily_unavailable", 400, true),
        ] {
            let error = refused(code, status);
            assert_eq!(
                (error.is_transient(), error.is_permanent()),
                (transient, !transient),
                "{code} {status}"
            );
        }
        let invalid = AuthenticationError::new("s", AuthenticationErrorKind::InvalidResponse);
        assert!(!invalid.is_transient() && !invalid.is_permanent());
    }
}
