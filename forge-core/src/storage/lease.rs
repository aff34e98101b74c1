use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;

use crate::{AuthenticationError, AuthenticationErrorKind, StorageError, TokenData, TokenId};

/// A storage's capability to let one of its users at a time fetch the token of a key, also where they
/// are processes that may die. Such a storage should also offer
/// [`compare_and_delete`](crate::TokenStorage::compare_and_delete). Without it a manager removes a rejected
/// token with [`delete`](crate::TokenStorage::delete), which prevents the manager's own lease from storing
/// the new token.
pub trait TokenLeases: Send + Sync {
    /// A lease on this key. It is not ours before it is [acquired](TokenLease::acquire); until then nobody
    /// is asked.
    fn lease(&self, key: &str) -> Box<dyn TokenLease>;
}

/// The right to fetch the token of one key, and what goes with it. Dropping it gives it back.
///
/// A lease may run out under its holder, who then knows nothing of it: hence [`store`](Self::store),
/// which asks for it once more, and compares.
#[async_trait]
pub trait TokenLease: Send + Sync {
    /// Waits until the lease is ours, or something else makes waiting needless. The policy says whether the
    /// storage grants the lease during a cool-down that another user of the storage has begun.
    ///
    /// # Errors
    ///
    /// No lease can be had; the caller goes on without one.
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError>;

    /// What the storage had at the moment in which [`acquire`](Self::acquire) gave the lease, where the
    /// answer said that, too: it saves the holder from reading again. Asked once, right after that. Default:
    /// it was not told.
    fn take_read(&mut self) -> LeaseRead {
        LeaseRead::NotReported
    }

    /// Marks the refresh token that came with this access token as spent, before it is sent: a refresh
    /// token that rotates must not be sent twice (RFC 9700 4.14.2). The mark belongs to this lease: each later
    /// lease gets [`RefreshMark::Foreign`], until the next [`store`](Self::store) removes the mark.
    ///
    /// # Errors
    ///
    /// The storage could not be told, and so nobody knows.
    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError>;

    /// Takes the mark away again: the refresh token was not used up.
    ///
    /// # Errors
    ///
    /// The storage could not be told; the mark stays.
    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError>;

    /// Stores a token and gives the lease back, in one step: if the lease still is ours, or if nobody
    /// holds it and the storage still has what was `read` (`None`: no token). Says whether it did. What
    /// was stored ends a cool-down.
    ///
    /// Stores nothing if the key was [deleted](crate::TokenStorage::delete) after the lease was
    /// [acquired](Self::acquire): the token was requested before the deletion. A
    /// [compare-and-delete](crate::CompareAndDelete::delete_if), which removes one token, does not prevent
    /// storing.
    ///
    /// # Errors
    ///
    /// The write failed, or the token is [unstorable](StorageError::is_unstorable).
    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError>;

    /// Gives the lease back after a failure that all would meet with, and has them wait.
    ///
    /// # Errors
    ///
    /// The storage could not be told.
    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError>;
}

/// Whether [`TokenLease::acquire`] respects a cool-down that another user of the storage has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoolDownPolicy {
    /// The storage answers [`LeaseOutcome::CoolingDown`] as long as a cool-down lasts.
    Respect,
    /// The storage grants the lease even during a cool-down.
    Ignore,
}

/// How waiting for a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseOutcome {
    /// The lease is ours. Read the storage again, unless the lease [reported](TokenLease::take_read) its token:
    /// whoever had it before has probably left a token.
    Held {
        /// How many attempts by whomever have failed in a row so far.
        failures: u32,
    },
    /// The token of the key has changed meanwhile. Read the storage again; the lease is not ours.
    Changed,
    /// Another user's attempt has failed, and nobody should try again for a while.
    CoolingDown(CoolDown),
}

/// The token of the key that the storage had when it granted a lease.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaseRead {
    /// The storage did not report it: the holder has to read the storage.
    NotReported,
    /// The storage had no token.
    Missing,
    /// The storage had this token.
    Token(TokenData),
}

impl From<Option<TokenData>> for LeaseRead {
    fn from(present: Option<TokenData>) -> Self {
        present.map_or(Self::Missing, Self::Token)
    }
}

/// Whether [`TokenLease::mark_refresh_token`] may take over the mark of an earlier lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkTakeover {
    /// Leave a foreign mark alone.
    Never,
    /// Take over a foreign mark, unless a lease has taken it over before.
    Once,
    /// Take over a foreign mark in any case: the refresh token is the only way to a token.
    Always,
}

/// Whether a refresh token may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshMark {
    /// It may: it bears our mark.
    Ours,
    /// It was sent before, or may have been: it bears the mark of an earlier lease.
    Foreign {
        /// How long ago the mark was made; `None`: the storage does not know.
        age: Option<Duration>,
    },
    /// The lease is not ours any more.
    LeaseLost,
}

/// A time in which nobody who shares a storage calls the token endpoint, and why. Only for failures
/// that are [transient](AuthenticationError::is_transient): what one user's own settings make
/// impossible is no reason for others to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolDown {
    left: Duration,
    failures: u32,
    status: Option<u16>,
}

impl CoolDown {
    /// A cool-down that lasts from now on, after so many failures in a row.
    #[must_use]
    pub fn new(left: Duration, failures: u32) -> Self {
        Self { left, failures, status: None }
    }

    /// Adds the status that the token endpoint answered with. Default: it did not answer.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// A cool-down because of this error.
    #[must_use]
    pub fn after(error: &AuthenticationError, left: Duration, failures: u32) -> Self {
        Self { left, failures, status: error.status().map(|status| status.as_u16()) }
    }

    /// The same, with another time left.
    #[must_use]
    pub fn with_left(mut self, left: Duration) -> Self {
        self.left = left;
        self
    }

    /// How long it still lasts.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.left
    }

    /// The failures in a row that led to it.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The status that the token endpoint answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// What callers are told meanwhile.
    #[must_use]
    pub fn error(&self, service_name: &str) -> AuthenticationError {
        let with_status = |status: StatusCode| {
            AuthenticationError::new(service_name, AuthenticationErrorKind::Status).with_status(status)
        };
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok()).map(with_status);
        let error = status
            .filter(AuthenticationError::is_transient)
            .unwrap_or_else(|| AuthenticationError::new(service_name, AuthenticationErrorKind::Connect));
        error.with_message("another user of the token storage has failed lately")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv08_a_shared_failure_is_transient_whatever_led_to_it() {
        for status in [None, Some(503), Some(429), Some(400), Some(7)] {
            let cool_down = CoolDown { status, ..CoolDown::new(Duration::from_secs(1), 1) };
            assert!(cool_down.error("crm").is_transient(), "{status:?}");
        }
        let error = CoolDown::new(Duration::ZERO, 1).with_status(503).error("crm");
        assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    }
}
