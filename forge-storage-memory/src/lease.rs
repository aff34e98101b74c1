use async_trait::async_trait;
use forge_core::{
    CoolDown, CoolDownPolicy, LeaseOutcome, MarkTakeover, RefreshMark, StorageError, TokenData, TokenId,
    TokenLease,
};

use crate::InMemoryTokenStorage;
use crate::leases::{Leases, Place};

/// A lease within the process.
pub(crate) struct Lease {
    place: Place,
    storage: InMemoryTokenStorage,
}

impl Lease {
    pub(crate) fn new(storage: InMemoryTokenStorage, key: &str) -> Self {
        Self { place: Leases::queue(storage.keys_held(), key), storage }
    }
}

#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        let storage = &self.storage;
        self.place.take(|| storage.now()).await;
        let cool_down = self.place.cool_down(self.storage.now());
        match cool_down.filter(|cool_down| policy == CoolDownPolicy::Respect && !cool_down.left().is_zero()) {
            Some(cool_down) => {
                self.place.give_back();
                Ok(LeaseOutcome::CoolingDown(cool_down))
            }
            None => {
                Ok(LeaseOutcome::Held { failures: cool_down.map_or(0, |cool_down| cool_down.failures()) })
            }
        }
    }

    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        if !self.place.is_taken() {
            return Ok(RefreshMark::LeaseLost);
        }
        Ok(self.storage.mark(self.place.key(), id, self.place.number(), takeover))
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        self.storage.clear_mark(self.place.key(), id, self.place.number());
        Ok(())
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        let stored = self.place.behind_the_fence(|is_ours| {
            self.storage.set_if(self.place.key(), token, |present| is_ours || present == read)
        });
        let is_stored = stored.unwrap_or(false);
        if is_stored {
            self.place.end_cool_down();
        }
        self.place.give_back();
        Ok(is_stored)
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        self.place.begin_cool_down(*cool_down, self.storage.now());
        self.place.give_back();
        Ok(())
    }
}
