use std::sync::Arc;

use async_trait::async_trait;
use forge_core::{
    CoolDown, CoolDownPolicy, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, StorageError, TokenData,
    TokenId, TokenLease,
};

use crate::storage::{Inner, MAX_ATTEMPTS, lost_capability_error};

/// A lease of the inner storage, for which it translates between tokens and encrypted records.
pub(crate) struct Lease {
    storage: Arc<Inner>,
    key: String,
    inner: Option<Box<dyn TokenLease>>,
}

impl Lease {
    pub(crate) fn new(storage: Arc<Inner>, key: &str, inner: Option<Box<dyn TokenLease>>) -> Self {
        Self { storage, key: key.to_owned(), inner }
    }

    fn inner(&mut self) -> Result<&mut dyn TokenLease, StorageError> {
        match &mut self.inner {
            Some(inner) => Ok(&mut **inner),
            None => Err(lost_capability_error()),
        }
    }
}

/// Marks name tokens, not records, so a mark stays valid when its token is encrypted again.
#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        self.inner()?.acquire(policy).await
    }

    fn take_read(&mut self) -> LeaseRead {
        match self.inner.as_mut().map(|inner| inner.take_read()) {
            Some(LeaseRead::Missing) => LeaseRead::Missing,
            Some(LeaseRead::Token(record)) => self.storage.open(&self.key, &record).into(),
            _ => LeaseRead::NotReported,
        }
    }

    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        self.inner()?.mark_refresh_token(id, takeover).await
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        self.inner()?.clear_mark(id).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        let record = self.storage.seal(&self.key, token)?;
        // The record is freshly encrypted, so the inner storage has no record with this identity.
        let nothing = Some(record.id());
        // So this attempt succeeds only if this lease still holds the key. That saves reading the present record.
        if self.inner()?.store(&record, nothing).await? {
            return Ok(true);
        }
        let mut present = self.storage.read_record(&self.key).await?;
        for _ in 0..MAX_ATTEMPTS {
            // A record that cannot be decrypted counts as no token, so a manager that has read none replaces it.
            let expected = if present.id() == read { present.record } else { nothing };
            if self.inner()?.store(&record, expected).await? {
                return Ok(true);
            }
            let now = self.storage.read_record(&self.key).await?;
            if now.record == present.record {
                break;
            }
            // Race: another process may have stored the same token, encrypted anew, so compare once more.
            present = now;
        }
        Ok(false)
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        self.inner()?.fail(cool_down).await
    }
}
