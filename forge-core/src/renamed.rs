//! The former names of what has been renamed, until the first release.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    AuthVerdict, AuthenticationError, ClockReading, GenerationStamp, LeaseOutcome, LeaseRead, NetworkError,
    RefreshMark, Secret, SecretSource, StalenessLimits, TokenData, TokenRequirement,
};

#[deprecated(note = "renamed to `AuthVerdict`")]
pub type Judgement = AuthVerdict;

impl AuthVerdict {
    #[allow(non_upper_case_globals)]
    #[doc(hidden)]
    #[deprecated(note = "renamed to `TokenRejected`")]
    pub const Rejected: Self = Self::TokenRejected;

    #[allow(non_upper_case_globals)]
    #[doc(hidden)]
    #[deprecated(note = "renamed to `AccessDenied`")]
    pub const Refused: Self = Self::AccessDenied;
}

#[deprecated(note = "renamed to `TokenRequirement`")]
pub type Demand = TokenRequirement;

#[deprecated(note = "renamed to `LeaseRead`")]
pub type Seen = LeaseRead;

#[deprecated(note = "renamed to `LeaseOutcome`")]
pub type Acquired = LeaseOutcome;

#[deprecated(note = "renamed to `RefreshMark`")]
pub type Spending = RefreshMark;

#[deprecated(note = "renamed to `ClockReading`")]
pub type Moment = ClockReading;

#[deprecated(note = "renamed to `GenerationStamp`")]
pub type Version = GenerationStamp;

#[deprecated(note = "renamed to `StalenessLimits`")]
pub type Freshness = StalenessLimits;

#[deprecated(note = "renamed to `NetworkError`")]
pub type ExchangeError = NetworkError;

impl TokenData {
    #[doc(hidden)]
    #[deprecated(note = "renamed to `with_lifetime_from`")]
    #[must_use]
    pub fn with_expires_in_at(self, lifetime: Duration, issued_at: DateTime<Utc>) -> Self {
        self.with_lifetime_from(lifetime, issued_at)
    }
}

impl SecretSource {
    /// # Errors
    ///
    /// As [`read_blocking`](Self::read_blocking).
    #[doc(hidden)]
    #[deprecated(note = "renamed to `read_blocking`")]
    pub fn read_at_once(&self) -> Result<Secret, AuthenticationError> {
        self.read_blocking()
    }
}

/// Whether the text contains one of these secrets.
#[deprecated(note = "renamed to `contains_secret`")]
#[must_use]
pub fn echoes(text: &str, secrets: &[&str]) -> bool {
    crate::contains_secret(text, secrets)
}

/// Whether a name looks like the name of a credential.
#[deprecated(note = "renamed to `looks_like_credential_name`")]
#[must_use]
pub fn may_name_a_credential(name: &str) -> bool {
    crate::looks_like_credential_name(name)
}
