use async_trait::async_trait;
use forge_core::{
    CoolDown, CoolDownPolicy, LeaseOutcome, MarkTakeover, RefreshMark, StorageError, TokenData, TokenId,
    TokenLease,
};

use crate::InMemoryTokenStorage;
use crate::leases::{LeaseHandle, Leases};

/// A lease within the process.
pub(crate) struct Lease {
    handle: LeaseHandle,
    storage: InMemoryTokenStorage,
}

impl Lease {
    pub(crate) fn new(storage: InMemoryTokenStorage, key: &str) -> Self {
        Self { handle: Leases::handle(storage.leases_of_keys(), key), storage }
    }
}

#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        let storage = &self.storage;
        self.handle.acquire(|| storage.now()).await;
        let cool_down = self.handle.cool_down(self.storage.now());
        match cool_down.filter(|cool_down| policy == CoolDownPolicy::Respect && !cool_down.left().is_zero()) {
            Some(cool_down) => {
                self.handle.release();
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
        if !self.handle.is_held() {
            return Ok(RefreshMark::LeaseLost);
        }
        Ok(self.storage.mark(self.handle.key(), id, self.handle.number(), takeover))
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        self.storage.clear_mark(self.handle.key(), id, self.handle.number());
        Ok(())
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        let stored = self.handle.with_fence(|is_ours| {
            self.storage.set_if(self.handle.key(), token, |present| is_ours || present == read)
        });
        let is_stored = stored.unwrap_or(false);
        if is_stored {
            self.handle.end_cool_down();
        }
        self.handle.release();
        Ok(is_stored)
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        self.handle.begin_cool_down(*cool_down, self.storage.now());
        self.handle.release();
        Ok(())
    }
}
