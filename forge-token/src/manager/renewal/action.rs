//! The actions that the renewal's state machine asks for, and the answers that it gets.

use forge_core::{CoolDownPolicy, MarkTakeover, TokenId};

use super::super::refresh_history::RefreshTokenState;

/// The driver's next task. The driver answers each action but [`Finish`](Self::Finish) with one [`Input`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Look into the slot for a token that callers can use. Answer: [`Input::SlotHit`].
    CheckSlot,
    /// Take over the token of an earlier flight that was lost before it kept the token. Answer:
    /// [`Input::UnkeptToken`].
    RecoverUnkeptToken,
    /// Look into the storage. Answer: [`Input::Storage`].
    ReadStorage,
    /// Offer the storage the cached token, which it lacks. Answer: [`Input::Done`].
    OfferToStorage,
    /// Look up the cool-down of the last failure. Answer: [`Input::CoolDown`].
    CheckCoolDown,
    /// Ask the provider for new credentials. Answer: [`Input::NewCredentials`].
    CheckNewCredentials,
    /// Stop handing out this token, which an API has rejected. Answer: [`Input::RenewalPermitted`].
    RejectCachedToken(TokenId),
    /// Ask whether the storage has leases. Answer: [`Input::LeaseTerms`].
    CheckLease,
    /// Ask for the lease. Answer: [`Input::Lease`].
    AcquireLease(CoolDownPolicy),
    /// Look into the storage after another process has changed it. Answer: [`Input::Storage`].
    ReadStorageWhileWaiting,
    /// Read the storage again, now that this manager holds the lease. Answer: [`Input::Storage`].
    ReadStorageUnderLease,
    /// Select the token that a refresh can renew. Answer: [`Input::Candidate`].
    SelectCandidate,
    /// Delete the rejected token from the storage. Answer: [`Input::Done`].
    DeleteRejectedToken(TokenId),
    /// Note that the renewal begins. Answer: [`Input::Begun`].
    BeginRenewal,
    /// Mark the refresh token in the storage, so that no other process sends it. Answer: [`Input::Mark`].
    MarkRefreshToken(MarkTakeover),
    /// Call the provider with the refresh token. Answer: [`Input::TokenIssued`] or [`Input::RefreshFailed`].
    CallRefresh,
    /// Remove the mark: the server has not used up the refresh token. Answer: [`Input::Done`].
    ClearMark,
    /// Look up whether the full grant has to wait after the failed refresh. Answer: [`Input::Fallback`].
    AssessFallback,
    /// Call the provider for a token by the full grant. The obstacle, if any, kept the refresh token from being
    /// sent. Answer: [`Input::TokenIssued`] or [`Input::FullGrantFailed`].
    CallFullGrant(Option<RefreshObstacle>),
    /// Note that the server refused the full grant. Answer: [`Input::Done`].
    RecordFullGrantRefusal,
    /// Begin the cool-down of this failure. Answer: [`Input::Done`].
    RecordFailure(Failure),
    /// Tell the other processes of the failure through the lease. Answer: [`Input::Done`].
    ShareFailure,
    /// Pass the new token to hook, storage and slot. No deadline interrupts this. Answer: [`Input::Done`] or
    /// [`Input::NotKept`].
    KeepToken(GrantKind),
    /// Look for a cached token that can be used while the storage does not answer; if there is none, the renewal
    /// ends so. Answer: [`Input::StandIn`].
    FindStandIn(Ending),
    /// End the renewal.
    Finish(Ending),
}

impl Action {
    /// Whether the flight's deadline bounds the action. Once there is a new token, no deadline may lose it
    /// (invariant 25).
    pub(crate) fn is_bounded(self) -> bool {
        !matches!(self, Self::KeepToken(_) | Self::FindStandIn(_) | Self::Finish(_))
    }
}

/// The answer to an [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Done,
    /// The token in the slot, if callers can use it.
    SlotHit(Option<TokenId>),
    UnkeptToken(Option<GrantKind>),
    Storage(StorageAnswer),
    CoolDown(CoolDownAnswer),
    /// Whether the provider has other credentials than at the last failure, and the cool-down may be passed over
    /// for that.
    NewCredentials(bool),
    /// Whether a rejected token may be renewed now, or renewals back off.
    RenewalPermitted(bool),
    LeaseTerms {
        has_leases: bool,
        /// Whether this manager has already waited as long as it honours another process's cool-down.
        has_waited_for_others: bool,
    },
    Lease(LeaseAnswer),
    Candidate(Option<CandidateFacts>),
    Begun(RenewalFacts),
    Mark(MarkAnswer),
    TokenIssued,
    RefreshFailed {
        state: RefreshTokenState,
        /// Whether more than one call with this refresh token is in doubt.
        is_repeated_doubt: bool,
    },
    Fallback {
        /// Whether the server asks for a delay, for the first time since this refresh token was issued.
        is_first_retry_after: bool,
        has_usable_token: bool,
    },
    FullGrantFailed {
        state: RefreshTokenState,
        /// Whether the server refused the grant, and not the client itself.
        is_grant_refused: bool,
    },
    NotKept,
    StandIn(bool),
    /// The flight's deadline has passed.
    TimedOut,
    /// The provider or the storage panicked.
    Panicked,
}

/// The content of the storage, judged by the goal of the renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StorageAnswer {
    /// A token that meets the goal.
    Usable,
    /// The slot has a token that meets the goal, and the storage lacks it.
    LocalOnly,
    /// No token that meets the goal.
    NotUsable,
    /// The storage did not answer, and no cached token can be trusted without it.
    Unavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CoolDownAnswer {
    NotActive,
    /// New credentials of the provider can end it.
    AfterPermanentFailure,
    AfterOtherFailure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LeaseAnswer {
    Held,
    /// Another process has failed, and all processes wait.
    CoolingDown,
    /// Another process has changed the storage meanwhile.
    StorageChanged,
    /// The storage failed, or gave no lease in time.
    Unavailable,
}

/// The facts that the machine knows about the token that a refresh can renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CandidateFacts {
    pub(crate) id: TokenId,
    pub(crate) has_refresh_token: bool,
    /// Whether other processes may have it too.
    pub(crate) is_shared: bool,
}

/// The facts about provider, history and slot that the machine needs when the renewal begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts")]
pub(crate) struct RenewalFacts {
    pub(crate) has_full_grant: bool,
    /// Whether an earlier call may have used up the candidate's refresh token.
    pub(crate) is_in_doubt: bool,
    /// Whether the server has refused the full grant while the refresh token was in doubt.
    pub(crate) is_full_grant_refused: bool,
    /// Whether callers can go on with the cached token.
    pub(crate) has_usable_token: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MarkAnswer {
    /// The storage has no leases, and so no marks.
    NotSupported,
    Ours,
    Foreign {
        /// Whether the call of the process that set the mark may still be in progress.
        may_be_in_progress: bool,
    },
    /// The lease is lost, or the storage failed.
    NotMarked,
}

/// Why the refresh token is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefreshObstacle {
    /// It is in doubt, and there is another way to a token.
    InDoubt,
    /// It bears the mark of another process.
    ForeignMark,
    /// As before, and the call of that process may still be in progress.
    CallInProgress,
    /// It could not be marked.
    NotMarked,
}

/// How a token was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GrantKind {
    Full,
    Refresh,
}

/// Why there is no new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// The refresh token was not sent, and there is no other way to a token.
    NotSent(RefreshObstacle),
    Refresh {
        needs_login: bool,
    },
    FullGrant {
        needs_login: bool,
        /// Whether the full grant stood in for a refresh token that was not sent.
        is_refresh: bool,
    },
}

/// How a renewal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// With a token that slot or storage had.
    Adopted,
    /// With a new token.
    Issued(GrantKind),
    /// This token was rejected, but renewals back off.
    RenewalPaused(TokenId),
    /// Nothing was tried, because the cool-down of an earlier failure lasts.
    CoolingDown,
    /// The driver has the error.
    Failed,
    TimedOut,
    Panicked,
    /// The driver has given an input that does not answer the action: a bug.
    UnexpectedInput,
}
