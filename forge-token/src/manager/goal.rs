use forge_core::{TokenId, TokenRequirement};

/// The purpose of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RenewalGoal {
    /// A token that meets this requirement, for a caller or for the renewal ahead of expiry.
    Obtain(TokenRequirement),
    /// Upkeep in the background: compare the cached token, which stays in use, with the storage's. If the storage has no
    /// token, the renewal ends in a fetch.
    Recheck,
}

impl RenewalGoal {
    pub(crate) const VALID: Self = Self::Obtain(TokenRequirement::Valid);
    pub(crate) const NEW: Self = Self::Obtain(TokenRequirement::New);

    /// Whether the renewal comes before it is needed, so that callers can go on with the cached token while that is
    /// usable. Usually no caller waits. A pipeline that asks for a token newer than its own waits, and gets the failure.
    pub(crate) fn is_in_background(self) -> bool {
        matches!(self, Self::Obtain(TokenRequirement::NewerThan(_)) | Self::Recheck)
    }

    /// The token that an API has rejected, if the renewal is to replace one.
    pub(crate) fn rejected(self) -> Option<TokenId> {
        match self {
            Self::Obtain(TokenRequirement::OtherThan(rejected)) => Some(rejected),
            _ => None,
        }
    }

    /// Whether a token that was found, not fetched, meets the goal.
    pub(crate) fn accepts(self, found: TokenId) -> bool {
        match self {
            Self::Obtain(TokenRequirement::Valid) | Self::Recheck => true,
            Self::Obtain(TokenRequirement::OtherThan(known) | TokenRequirement::NewerThan(known)) => {
                found != known
            }
            Self::Obtain(_) => false,
        }
    }
}
