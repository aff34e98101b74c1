//! An issuer whose answers to a refresh the test chooses, and the four states of a refresh token after a
//! call. Compiled into the suite `redis` as well; `crate::api` has the library's names.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::api::{
    AuthenticationError, AuthenticationErrorKind, Clock, StatusCode, TokenData, TokenProvider, async_trait,
};

/// Gives `t1`, `t2`, … with the refresh tokens `r1`, `r2`, …, an hour each.
pub(crate) struct Issuer {
    clock: Arc<dyn Clock>,
    pub(crate) has_full_grant: bool,
    issued: AtomicUsize,
    fetches: AtomicUsize,
    /// The refresh tokens that were sent.
    sent: Mutex<Vec<String>>,
    /// How the next refreshes end. The later ones succeed.
    failures: Mutex<VecDeque<Failure>>,
}

pub(crate) enum Failure {
    Error(AuthenticationError),
    Hang,
}

impl Issuer {
    pub(crate) fn new(clock: Arc<dyn Clock>, has_full_grant: bool) -> Arc<Self> {
        Arc::new(Self {
            clock,
            has_full_grant,
            issued: AtomicUsize::new(0),
            fetches: AtomicUsize::new(0),
            sent: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// Makes the next refreshes fail in these ways.
    pub(crate) fn fail(&self, failures: impl IntoIterator<Item = Failure>) {
        self.failures.lock().expect("unpoisoned").extend(failures);
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().expect("unpoisoned").clone()
    }

    pub(crate) fn issue(&self) -> TokenData {
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        let now = self.clock.now().wall();
        let token = TokenData::new(format!("t{number}")).with_refresh_token(format!("r{number}"));
        token.with_issued_at(now).with_expires_at(now + Duration::from_secs(3600))
    }
}

#[async_trait]
impl TokenProvider for Issuer {
    fn service_name(&self) -> &'static str {
        "issuer"
    }

    fn has_full_grant(&self) -> bool {
        self.has_full_grant
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        Ok(self.issue())
    }

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let refresh_token = current.refresh_token().expect("a refresh token").to_owned();
        self.sent.lock().expect("unpoisoned").push(refresh_token);
        let failure = self.failures.lock().expect("unpoisoned").pop_front();
        match failure {
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Hang) => std::future::pending().await,
            None => Ok(self.issue()),
        }
    }
}

/// A row of the table in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Dead,
    Refused,
    Unused,
    InDoubt,
}

/// Answers of a token endpoint after which a refresh token is in this state.
pub(crate) fn answers() -> Vec<(State, AuthenticationError)> {
    let refused = |code: &str, status| error(AuthenticationErrorKind::Refused(code.into()), Some(status));
    let status = |status| error(AuthenticationErrorKind::Status, Some(status));
    vec![
        (State::Dead, refused("invalid_grant", 400)),
        (State::Dead, refused("bad_refresh_token", 200)),
        (State::Refused, refused("invalid_client", 401)),
        (State::Refused, refused("invalid_scope", 400)),
        (State::Refused, status(404)),
        (State::Unused, status(408)),
        (State::Unused, status(425)),
        (State::Unused, refused("invalid_grant", 429)),
        (State::Unused, refused("invalid_grant", 503)),
        (State::Unused, error(AuthenticationErrorKind::Connect, None).with_nothing_sent()),
        (State::InDoubt, refused("invalid_grant", 500)),
        (State::InDoubt, status(502)),
        (State::InDoubt, status(504)),
        (State::InDoubt, error(AuthenticationErrorKind::InvalidResponse, Some(200))),
        (State::InDoubt, error(AuthenticationErrorKind::Connect, None)),
        (State::InDoubt, error(AuthenticationErrorKind::Timeout, None)),
    ]
}

pub(crate) fn error(kind: AuthenticationErrorKind, status: Option<u16>) -> AuthenticationError {
    let error = AuthenticationError::new("", kind);
    match status {
        Some(status) => error.with_status(StatusCode::from_u16(status).expect("a status")),
        None => error,
    }
}
