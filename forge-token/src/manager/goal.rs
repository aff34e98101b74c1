use forge_core::TokenId;

/// What a caller wants of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Any valid token.
    Any,
    /// A valid token that is not this one, which was rejected.
    OtherThan(TokenId),
    /// A valid token that is not this one, which is still valid but will not be for long.
    NewerThan(TokenId),
    /// Whatever the storage has by now; the token at hand goes on serving meanwhile.
    Confirmed,
    /// A token fetched anew.
    Fetched,
}

impl Goal {
    /// Whether nobody waits.
    pub(crate) fn is_in_background(self) -> bool {
        matches!(self, Self::NewerThan(_) | Self::Confirmed)
    }

    /// Whether a token that was found, not fetched, will do.
    pub(crate) fn accepts(self, found: TokenId) -> bool {
        match self {
            Self::Any | Self::Confirmed => true,
            Self::OtherThan(known) | Self::NewerThan(known) => found != known,
            Self::Fetched => false,
        }
    }
}
