use std::time::Duration;

use forge_core::{Credential, TokenId, TokenSource};

use crate::timing::until_over;

/// When a rejected token is renewed, and when the request is replayed with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaySchedule {
    /// Renew the token at once. Wait this long before the replay.
    RenewThenWait(Duration),
    /// Wait this long. Then renew the token, and replay at once.
    WaitThenRenew(Duration),
}

impl ReplaySchedule {
    /// The wait from the response to the renewal.
    #[must_use]
    pub fn delay_before_renewal(&self) -> Duration {
        match self {
            Self::RenewThenWait(_) => Duration::ZERO,
            Self::WaitThenRenew(delay) => *delay,
        }
    }

    /// The wait from the renewal to the replay.
    #[must_use]
    pub fn delay_before_replay(&self) -> Duration {
        match self {
            Self::RenewThenWait(delay) => *delay,
            Self::WaitThenRenew(_) => Duration::ZERO,
        }
    }

    /// The schedule of a replay after the first one, which the strategy wants after `delay`. The last renewal did
    /// not help, so the source may back off, and renews nothing until the back-off is over. `None` if the wait would
    /// be longer than [`MAX_BACK_OFF`]. `earlier` are the tokens that the server has rejected before this one.
    pub(super) fn of_later_replay(
        rejected: &Credential,
        earlier: &[TokenId],
        delay: Duration,
        source: &dyn TokenSource,
    ) -> Option<Self> {
        // Race: other calls begin during the wait. If the source may renew now, the first of them does, instead of
        // sending the rejected token.
        source.mark_rejected(rejected);
        let has_another = source
            .cached()
            .is_some_and(|cached| cached.id() != rejected.id() && !earlier.contains(&cached.id()));
        let back_off = source.next_renewal_in().filter(|_| !has_another).unwrap_or_default();
        (back_off <= MAX_BACK_OFF).then(|| Self::WaitThenRenew(delay.max(until_over(back_off))))
    }
}

/// The longest back-off of a token source that a replay waits for. A `TokenManager` backs off for at most this long
/// after renewals that do not help. A longer one is the cool-down of a token endpoint, which may ask for hours.
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(60);
