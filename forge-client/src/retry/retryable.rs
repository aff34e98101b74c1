//! The outcomes that the ready-made strategies retry.

use std::fmt;

use http::StatusCode;

use super::RetryOutcome;
use crate::HttpClientError;

/// The reasons for which a request gets no response, as retry strategies distinguish them: see
/// [`retryable_errors`](crate::ExponentialBackoffRetryStrategy::retryable_errors).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryableError {
    /// The client could not connect ([`is_connect`](HttpClientError::is_connect)), for another reason than TLS.
    Connect,
    /// The client could not set up TLS ([`is_tls`](HttpClientError::is_tls)). A later attempt rarely succeeds.
    Tls,
    /// A connection or a response did not come in time ([`is_timeout`](HttpClientError::is_timeout)).
    Timeout,
    /// The connection was cut, or the response was not HTTP.
    Interrupted,
    /// The client sent nothing, because it got no token
    /// ([`authentication_error`](HttpClientError::authentication_error)), and may get one later. Strategies do
    /// not retry if a later attempt would get none either.
    NoToken,
}

/// The statuses and the errors that a strategy retries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RetryableOutcomes {
    /// A bit for each status below 1024, so that strategies can be copied.
    statuses: [u64; 16],
    /// A bit for each error.
    errors: u8,
}

impl RetryableOutcomes {
    /// The outcomes after which a later attempt may succeed. Speed: a constant, because the end of every call
    /// compares with it.
    pub(super) const TRANSIENT: Self = {
        let mut statuses = [0; 16];
        let codes = [408, 429, 500, 502, 503, 504];
        let mut next = 0;
        while next < codes.len() {
            statuses[codes[next] / 64] |= 1 << (codes[next] % 64);
            next += 1;
        }
        let errors = bit(RetryableError::Connect)
            | bit(RetryableError::Timeout)
            | bit(RetryableError::Interrupted)
            | bit(RetryableError::NoToken);
        Self { statuses, errors }
    };

    /// The same with these statuses, and no others.
    pub(super) fn with_statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.statuses = [0; 16];
        for status in statuses {
            let (word, bit) = bit_position(status);
            self.statuses[word] |= bit;
        }
        self
    }

    /// The same with these errors, and no others.
    pub(super) fn with_errors(mut self, errors: impl IntoIterator<Item = RetryableError>) -> Self {
        self.errors = errors.into_iter().fold(0, |bits, error| bits | bit(error));
        self
    }

    pub(super) fn contains(&self, outcome: &RetryOutcome<'_>) -> bool {
        match outcome {
            RetryOutcome::Response(response) => self.contains_status(response.status_code()),
            RetryOutcome::Error(error) => reason(error).is_some_and(|reason| self.errors & bit(reason) != 0),
        }
    }

    pub(super) fn contains_status(&self, status: StatusCode) -> bool {
        let (word, bit) = bit_position(status);
        self.statuses[word] & bit != 0
    }
}

/// The index of the word and the bit that represent a status. A `StatusCode` is below 1000.
fn bit_position(status: StatusCode) -> (usize, u64) {
    let code = usize::from(status.as_u16()) % 1024;
    (code / 64, 1 << (code % 64))
}

const fn bit(error: RetryableError) -> u8 {
    1 << error as u8
}

/// The reason of an error; `None` if a later attempt would fail as well.
fn reason(error: &HttpClientError) -> Option<RetryableError> {
    if let Some(lack_of_token) = error.authentication_error() {
        return lack_of_token.is_transient().then_some(RetryableError::NoToken);
    }
    Some(match () {
        () if error.is_timeout() => RetryableError::Timeout,
        () if error.is_tls() => RetryableError::Tls,
        () if error.is_connect() => RetryableError::Connect,
        () => RetryableError::Interrupted,
    })
}

/// Setters of a strategy that has [`RetryableOutcomes`]. The argument is the strategy, for the examples.
macro_rules! retryable_setters {
    ($strategy:ident) => {
        /// The statuses that the strategy retries, instead of 408, 429, 500, 502, 503 and 504.
        ///
        /// ```
        #[doc = concat!("use requestforge::{", stringify!($strategy), ", reqwest::StatusCode};")]
        ///
        #[doc = concat!("let strategy = ", stringify!($strategy), "::new()")]
        ///     .retryable_status_codes([StatusCode::LOCKED, StatusCode::SERVICE_UNAVAILABLE]);
        /// ```
        #[must_use]
        pub fn retryable_status_codes(
            mut self,
            statuses: impl IntoIterator<Item = ::http::StatusCode>,
        ) -> Self {
            self.retryable = self.retryable.with_statuses(statuses);
            self
        }

        /// The errors that the strategy retries, instead of all but
        /// [`RetryableError::Tls`](crate::RetryableError::Tls).
        ///
        /// ```
        #[doc = concat!("use requestforge::{", stringify!($strategy), ", retry::RetryableError};")]
        ///
        /// // Retries only requests that did not reach the server.
        #[doc = concat!("let strategy = ", stringify!($strategy), "::new()")]
        ///     .retryable_errors([RetryableError::Connect])
        ///     .retryable_status_codes([]);
        /// ```
        #[doc(alias = "retryable_exceptions")]
        #[must_use]
        pub fn retryable_errors(mut self, errors: impl IntoIterator<Item = $crate::RetryableError>) -> Self {
            self.retryable = self.retryable.with_errors(errors);
            self
        }
    };
}

pub(super) use retryable_setters;

impl fmt::Debug for RetryableOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RetryableError::{Connect, Interrupted, NoToken, Timeout, Tls};
        let statuses = (100..1000).filter_map(|code| StatusCode::from_u16(code).ok());
        let statuses: Vec<_> =
            statuses.filter(|status| self.contains_status(*status)).map(|status| status.as_u16()).collect();
        let errors = [Connect, Tls, Timeout, Interrupted, NoToken].into_iter();
        let errors: Vec<_> = errors.filter(|error| self.errors & bit(*error) != 0).collect();
        f.debug_struct("RetryableOutcomes").field("statuses", &statuses).field("errors", &errors).finish()
    }
}
