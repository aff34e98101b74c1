use std::time::Duration;

use forge_core::{AuthenticationError, ClockReading};

use super::slot::Entry;

/// The state of a manager's token; see [`TokenManager::status`](crate::TokenManager::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenStatus {
    /// Whether the cached token may be used now.
    pub has_token: bool,
    /// How long it may still be used; `None`: for ever, or there is none.
    pub usable_for: Option<Duration>,
    /// How long until the next use of the token starts a background renewal; `None`: never, or there is no token.
    /// [`next_renewal_in`](crate::TokenManager::next_renewal_in) says when a rejected token may be renewed.
    pub next_renewal: Option<Duration>,
    /// The last failure since a token was last fetched.
    pub last_error: Option<AuthenticationError>,
    /// How long the manager fetches nothing because of that failure.
    pub cool_down: Option<Duration>,
}

impl TokenStatus {
    pub(super) fn new(
        entry: Option<&Entry>,
        failure: Option<(&AuthenticationError, Duration)>,
        now: ClockReading,
    ) -> Self {
        let duration = |millis: i64| Duration::from_millis(millis.max(0).unsigned_abs());
        Self {
            has_token: entry.is_some(),
            usable_for: entry.and_then(|entry| entry.times().mandatory.left(now)).map(duration),
            next_renewal: entry.and_then(|entry| entry.renewal_in(now)).map(duration),
            last_error: failure.map(|(error, left)| error.clone().with_cool_down(left)),
            cool_down: failure.map(|(_, left)| left).filter(|left| !left.is_zero()),
        }
    }
}
