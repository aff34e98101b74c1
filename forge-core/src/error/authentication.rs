use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{OAuthErrorCode, Source, as_source, write_chain};

/// No token could be had, and why.
///
/// Cheap to clone: all callers who waited for one fetch get the same error. Neither `Display` nor
/// `Debug` nor the [`source`](Error::source) chain holds a secret.
///
/// ```
/// use forge_core::{AuthenticationError, AuthenticationErrorKind};
///
/// let error = AuthenticationError::new("crm", AuthenticationErrorKind::Connect);
/// assert_eq!(error.service_name(), "crm");
/// assert!(error.is_transient());
/// ```
#[derive(Clone)]
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

/// How far the call came, as the transport knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    NothingSent,
    NoAnswer,
    Unknown,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationErrorKind {
    /// The token endpoint refused with an error code (RFC 6749 5.2).
    Refused(OAuthErrorCode),
    /// The token endpoint answered with a status that is no success, and named no error code.
    Status,
    /// The answer held no usable token.
    InvalidResponse,
    /// The connection to the token endpoint failed, or ended before the endpoint responded.
    Connect,
    /// The token endpoint's response is not valid HTTP, was cut off, or has invalid compression.
    UnreadableResponse,
    /// No answer in time.
    Timeout,
    /// A setting makes the call impossible: an insecure token URL, a missing runtime.
    Configuration,
    /// The provider panicked.
    Panicked,
    /// The shared storage could not be told of an invalidation.
    Storage,
    /// Anything else, from a provider of one's own.
    Other,
}

impl AuthenticationError {
    /// An error of this kind, for the service named.
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

    /// Adds what a person should read. Put no secret in it.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        self.with(|inner| inner.message = Some(message.into()))
    }

    /// Adds the cause. Neither its text nor that of its own causes may hold a secret.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        self.with(|inner| inner.source = Some(Source::from(source.into())))
    }

    /// Adds the status of the token endpoint's answer.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        self.with(|inner| inner.status = Some(status))
    }

    /// Adds how long the token endpoint asked to be left alone (RFC 9110 10.2.3).
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        self.with(|inner| inner.retry_after = Some(delay))
    }

    /// Says for how long from now on nothing is tried again because of this. A manager does; one whose
    /// provider fails with such an error stands back as long, instead of longer with each manager that
    /// the error comes through.
    #[must_use]
    pub fn with_cool_down(self, left: Duration) -> Self {
        self.with(|inner| inner.cool_down = Some(left))
    }

    /// Names the step of several in which it happened, and in which service. What has a step already
    /// keeps both.
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

    /// Says that nothing was sent: no connection came about, or a setting was in the way. What was to be
    /// sent can be sent again.
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

    /// Marks this as a failure to refresh, as opposed to a failed first fetch.
    #[must_use]
    pub fn into_refresh(self) -> Self {
        self.with(|inner| inner.refresh = true)
    }

    /// Names the service, where whoever made the error did not know it.
    #[must_use]
    pub fn or_service_name(self, service_name: &str) -> Self {
        if self.0.service_name.is_empty() {
            return self.with(|inner| service_name.clone_into(&mut inner.service_name));
        }
        self
    }

    /// The service whose token could not be had.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.0.service_name
    }

    /// The step of several in which it happened, where there are such.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &AuthenticationErrorKind {
        &self.0.kind
    }

    /// The error code of the token endpoint, where it sent one.
    #[must_use]
    pub fn oauth_error_code(&self) -> Option<&OAuthErrorCode> {
        match &self.0.kind {
            AuthenticationErrorKind::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// The status of the token endpoint's answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// How long the token endpoint asked to be left alone, where it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// For how long, when the error was handed out, nothing is tried again because of it; `None`: it comes
    /// from nobody who stands back.
    #[must_use]
    pub fn cool_down(&self) -> Option<Duration> {
        self.0.cool_down
    }

    /// Nothing was sent, for certain.
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

    /// A refresh failed, not a first fetch.
    #[must_use]
    pub fn is_refresh(&self) -> bool {
        self.0.refresh
    }

    /// The same call may succeed later.
    ///
    /// | failure | |
    /// | --- | --- |
    /// | no connection, cut connection, unreadable answer, no answer in time | transient |
    /// | [`needs_login`](Self::needs_login), whatever the status and the code | permanent |
    /// | status 408, 425, 429, 503, whatever the body says | transient |
    /// | any other status of 500 and above, unless the body has one of the permanent codes below | transient |
    /// | `temporarily_unavailable`, `server_error`, `slow_down` | transient |
    /// | `invalid_request`, `invalid_client`, `invalid_grant`, `unauthorized_client`, `unsupported_grant_type`, `invalid_scope` | permanent |
    /// | any other code, any other status | permanent |
    /// | no usable token in the answer, a panic, a failure of a provider's own | neither |
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
            // A gateway that is overloaded passes no verdict, whatever code it quotes.
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

    /// The same call will fail again until somebody changes something; see the table of
    /// [`is_transient`](Self::is_transient).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        let refused =
            matches!(self.0.kind, AuthenticationErrorKind::Refused(_) | AuthenticationErrorKind::Status);
        self.0.needs_login || (refused && !self.is_transient())
    }

    /// No answer in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == AuthenticationErrorKind::Timeout
    }

    /// `invalid_client`: unknown client or wrong secret.
    #[must_use]
    pub fn is_invalid_client(&self) -> bool {
        self.oauth_error_code() == Some(&OAuthErrorCode::InvalidClient)
    }

    /// `invalid_grant`: the refresh token or the user's credentials are wrong, expired or revoked.
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
                f.write_str("the token endpoint answered with an error status")?;
            }
            AuthenticationErrorKind::InvalidResponse => f.write_str("the answer holds no usable token")?,
            AuthenticationErrorKind::Connect if inner.delivery == Delivery::NoAnswer => {
                f.write_str("the token endpoint closed the connection without an answer")?;
            }
            AuthenticationErrorKind::Connect => f.write_str("no connection to the token endpoint")?,
            AuthenticationErrorKind::UnreadableResponse => {
                f.write_str("the token endpoint's answer cannot be read")?;
            }
            AuthenticationErrorKind::Timeout => f.write_str("no answer in time")?,
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

/// For people, as this is what a `main` that returns the error prints.
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
        assert_eq!(clone.to_string(), "crm: no token: no connection to the token endpoint");
    }

    #[test]
    fn a_connection_that_ended_is_told_from_one_that_never_was() {
        let cut = AuthenticationError::new("crm", AuthenticationErrorKind::Connect).with_no_answer();
        assert!(cut.is_unanswered() && !cut.is_unsent() && cut.is_transient());
        let told = "crm: no token: the token endpoint closed the connection without an answer";
        assert_eq!(cut.to_string(), told);
    }

    #[test]
    fn the_step_in_which_it_happened_is_named_once() {
        let error = AuthenticationError::new("vault", AuthenticationErrorKind::Timeout);
        let error = error.or_step("crm", "app_token").or_step("crm", "user_token").or_service_name("other");
        assert_eq!((error.service_name(), error.step()), ("crm", Some("app_token")));
        assert_eq!(error.to_string(), "crm: step `app_token`: no token: no answer in time");
        assert!(error.is_transient());
    }

    #[test]
    fn inv23_an_error_that_only_a_login_mends_says_so_and_is_permanent() {
        let error = AuthenticationError::new("crm", AuthenticationErrorKind::Timeout).into_refresh();
        assert!(error.is_transient() && !error.needs_login());
        let error = error.with_login_needed();
        assert!(error.needs_login() && error.is_permanent() && !error.is_transient());
        let told = "crm: token refresh failed: no answer in time; the user must log in again";
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
