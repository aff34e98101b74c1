//! Selects the token that a refresh can renew.

use std::sync::Arc;

use forge_core::{TokenData, TokenId};

use super::super::Inner;
use super::super::slot::Entry;
use super::action::CandidateFacts;

/// A token that may be renewed instead of a full grant.
pub(super) struct RefreshCandidate {
    pub(super) token: TokenData,
    /// Whether other processes may have it too.
    is_shared: bool,
    /// Whether another process may have used the refresh token without this manager's noticing.
    pub(super) is_in_doubt: bool,
}

impl RefreshCandidate {
    pub(super) fn refresh_token_id(&self) -> Option<TokenId> {
        self.token.refresh_token().map(TokenId::of)
    }

    pub(super) fn facts(&self) -> CandidateFacts {
        CandidateFacts {
            id: self.token.id(),
            has_refresh_token: self.token.refresh_token().is_some(),
            is_shared: self.is_shared,
        }
    }
}

impl Inner {
    /// The newest token that this manager knows, in the storage or in the slot.
    pub(super) fn select_candidate(&self, stored: Option<TokenData>) -> Option<RefreshCandidate> {
        let from_slot = |entry: Arc<Entry>| RefreshCandidate {
            token: entry.credential().token().clone(),
            is_shared: !entry.is_private(),
            // The storage has no record, and a change may have been missed: another process may have
            // refreshed, and its record was then invalidated or lost.
            is_in_doubt: !entry.is_private() && !self.slot.is_certain(&entry),
        };
        // A token that the storage did not take is newer than the one that it has.
        let unstored = self.slot.entry().filter(|entry| !entry.is_stored() && self.slot.is_current(entry));
        let unstored = unstored.map(from_slot);
        // Crash: after a failover the storage may hold a token again that was renewed before. This manager has sent
        // that token's refresh token, so the token in the slot is newer.
        if stored.as_ref().is_some_and(|token| self.is_older_than_slot(token)) {
            let newest =
                || self.slot.entry().filter(|entry| !self.is_older_than_slot(entry.credential().token()));
            let stored =
                || stored.map(|token| RefreshCandidate { token, is_shared: true, is_in_doubt: true });
            return unstored.or_else(|| newest().map(from_slot)).or_else(stored);
        }
        let stored = || stored.map(|token| RefreshCandidate { token, is_shared: true, is_in_doubt: false });
        unstored.or_else(stored).or_else(|| self.slot.refreshable().map(from_slot))
    }

    fn is_older_than_slot(&self, token: &TokenData) -> bool {
        let history = self.refresh_history.lock();
        self.slot.was_replaced(token.id())
            || token.refresh_token().is_some_and(|sent| history.was_replaced(TokenId::of(sent)))
    }
}
