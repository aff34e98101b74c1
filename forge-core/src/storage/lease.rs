use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;

use crate::{AuthenticationError, AuthenticationErrorKind, StorageError, TokenData, TokenId};

/// A storage's capability to let only one of its users fetch the token of a key at a time, even if the users are
/// processes that may crash.
///
/// Such a storage should also offer [`compare_and_delete`](crate::TokenStorage::compare_and_delete). Without it a manager
/// removes a rejected token with [`delete`](crate::TokenStorage::delete), which prevents the manager's own lease from
/// storing the new token.
pub trait TokenLeases: Send + Sync {
    /// A lease on this key that is not held yet: [`acquire`](TokenLease::acquire) requests it. This call sends nothing.
    fn lease(&self, key: &str) -> Box<dyn TokenLease>;
}

/// The exclusive right to fetch the token of one key. Dropping the lease releases it.
///
/// Crash and race: a lease may run out while its holder is paused, and the holder does not notice. So
/// [`store`](Self::store) checks the lease once more, and compares the stored token.
#[async_trait]
pub trait TokenLease: Send + Sync {
    /// Waits until this lease holds the key, or until waiting has become needless. The policy says whether the storage
    /// grants the lease during a cool-down that another user of the storage has begun.
    ///
    /// # Errors
    ///
    /// The storage cannot grant a lease now. The caller continues without one.
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError>;

    /// The token that the storage had when [`acquire`](Self::acquire) granted the lease, if the storage has reported it.
    /// This saves the holder a read. A manager calls this once, right after `acquire`. Default: not reported.
    fn take_read(&mut self) -> LeaseRead {
        LeaseRead::NotReported
    }

    /// Marks the refresh token that came with this access token as spent. The holder calls this before it sends the
    /// refresh token, because a rotating refresh token must not be sent twice (RFC 9700 4.14.2). The mark belongs to this
    /// lease. Each later lease gets [`RefreshMark::Foreign`], until the next [`store`](Self::store) removes the mark.
    ///
    /// # Errors
    ///
    /// The storage did not answer, so the mark may or may not exist.
    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError>;

    /// Removes the mark, because the refresh token was not used up.
    ///
    /// # Errors
    ///
    /// The storage did not answer; the mark may stay.
    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError>;

    /// Stores a token and releases the lease, in one atomic step, and returns whether it did. It stores the token if this
    /// lease still holds the key, or if no lease holds it and the storage still has the token that the caller has `read`
    /// (`None`: no token). A stored token ends a cool-down.
    ///
    /// It stores nothing if the key was [deleted](crate::TokenStorage::delete) after the lease was
    /// [acquired](Self::acquire), because the token was requested before the deletion. A
    /// [compare-and-delete](crate::CompareAndDelete::delete_if) removes one token only, so it does not prevent storing.
    ///
    /// # Errors
    ///
    /// The write failed, or the token is [unstorable](StorageError::is_unstorable).
    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError>;

    /// Releases the lease after a failure that every user of the storage would meet, and begins a cool-down for all of
    /// them.
    ///
    /// # Errors
    ///
    /// The storage did not answer.
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

/// The outcome of [`TokenLease::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseOutcome {
    /// The lease holds the key. Read the storage again, unless [`take_read`](TokenLease::take_read) returns the token: the
    /// previous holder has probably stored one.
    Held {
        /// How many attempts of all users have failed in a row so far.
        failures: u32,
    },
    /// The token of the key has changed while the lease waited. The lease does not hold the key. Read the storage again.
    Changed,
    /// The attempt of another user has failed, and no user should try again during the cool-down.
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
    /// Respect a foreign mark.
    Never,
    /// Take over a foreign mark, unless a lease has taken it over before.
    Once,
    /// Take over every foreign mark, because only the refresh token leads to a new token.
    Always,
}

/// The outcome of [`TokenLease::mark_refresh_token`], which says whether the holder may send the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshMark {
    /// The mark is ours: the holder may send the refresh token.
    Ours,
    /// The mark is of an earlier lease, so the refresh token may have been sent before.
    Foreign {
        /// The age of the mark. `None`: the storage does not know it.
        age: Option<Duration>,
    },
    /// The lease holds the key no more, so no mark was made.
    LeaseLost,
}

/// A period in which no user of a shared storage calls the token endpoint, and its reason.
///
/// It is only for [transient](AuthenticationError::is_transient) failures. A failure that comes from the settings of one
/// user is no reason for the others to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolDown {
    left: Duration,
    failures: u32,
    status: Option<u16>,
}

impl CoolDown {
    /// A cool-down that begins now and has this long `left`, after this many failures in a row.
    #[must_use]
    pub fn new(left: Duration, failures: u32) -> Self {
        Self { left, failures, status: None }
    }

    /// Adds the status of the token endpoint's response. Default: there was no response.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// A cool-down after this error.
    #[must_use]
    pub fn after(error: &AuthenticationError, left: Duration, failures: u32) -> Self {
        Self { left, failures, status: error.status().map(|status| status.as_u16()) }
    }

    /// The same cool-down with another remaining time.
    #[must_use]
    pub fn with_left(mut self, left: Duration) -> Self {
        self.left = left;
        self
    }

    /// The remaining time.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.left
    }

    /// The number of failures in a row before this cool-down.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The status of the token endpoint's response, if there was a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The error for callers during the cool-down.
    #[must_use]
    pub fn error(&self, service_name: &str) -> AuthenticationError {
        let with_status = |status: StatusCode| {
            AuthenticationError::new(service_name, AuthenticationErrorKind::Status).with_status(status)
        };
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok()).map(with_status);
        let error = status
            .filter(AuthenticationError::is_transient)
            .unwrap_or_else(|| AuthenticationError::new(service_name, AuthenticationErrorKind::Connect));
        error.with_message(
            "another user of the token storage has just failed, so this call waits for the cool-down to end",
        )
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
