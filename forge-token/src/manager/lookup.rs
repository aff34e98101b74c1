//! Looks into the storage, or into the slot while the storage does not answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{StorageError, TokenData, TokenId, TokenStorage, is_token_text};

use super::Inner;
use super::catch_panic::{CaughtPanic, catch_panic};
use super::goal::RenewalGoal;
use super::slot::{Entry, Stamp};
use crate::rt::{self, Deadline};

pub(super) enum StorageLookup {
    /// The storage has a token that meets the goal, or the slot has one that may be used instead.
    Usable(Arc<Entry>),
    /// The slot has a token that meets the goal, and the storage lacks it. The storage's token, if any, is older.
    LocalOnly(Arc<Entry>, Option<TokenData>),
    /// The storage has no token, or one that can at most be refreshed.
    NotUsable(Option<TokenData>),
    /// The storage did not answer, and no cached token can be trusted without its answer.
    Unavailable,
}

impl Inner {
    /// The storage's token, if callers can use it: for storages that announce no changes and are asked each time.
    pub(super) async fn read_storage(&self) -> Option<Arc<Entry>> {
        let changes_before = self.slot.change_count();
        let (StorageLookup::Usable(entry) | StorageLookup::LocalOnly(entry, _)) =
            self.look_up_in_storage(RenewalGoal::VALID).await
        else {
            return None;
        };
        self.slot.remember(&entry, changes_before);
        Some(entry)
    }

    pub(super) async fn look_up_in_storage(&self, goal: RenewalGoal) -> StorageLookup {
        let Some(storage) = &self.storage else {
            return StorageLookup::NotUsable(None);
        };
        // Order: the stamp before the token. A change in between makes the entry stale, never fresh by mistake.
        let stamp = self.slot.stamp(self.clock.now());
        match self.bounded(storage.get(&self.key)).await {
            Ok(stored) => self.classify_stored(goal, stored, stamp),
            Err(error) => {
                self.warn_of_storage(&error, "going on without the token storage");
                let now = self.clock.now();
                // A token that the storage did not take is hardly one that another process has changed.
                let stand_in = self.cached_if(goal, |entry| {
                    (self.slot.is_current(entry) || !entry.is_stored()) && entry.is_trusted(now)
                });
                stand_in.map_or(StorageLookup::Unavailable, StorageLookup::Usable)
            }
        }
    }

    /// Judges the storage's token by the goal. The stamp was taken before the token was read.
    pub(super) fn classify_stored(
        &self,
        goal: RenewalGoal,
        stored: Option<TokenData>,
        stamp: Stamp,
    ) -> StorageLookup {
        let Some(token) = stored else { return self.local_only_or_unusable(goal, None) };
        if token.is_sealed() {
            self.reports.warn_sealed_record_once(self.provider.service_name(), &self.key);
            // The refresh token of an encrypted record is a placeholder and must not be sent. Keep the access
            // token: the storage compares its id when the record is replaced.
            return self.local_only_or_unusable(goal, Some(token.without_refresh_token()));
        }
        // A header cannot carry this token: treat it as a miss, which the next token replaces.
        if !is_token_text(token.access_token()) {
            self.reports.warn_unusable_token_once(self.provider.service_name(), &self.key);
            return self.local_only_or_unusable(goal, Some(token.without_refresh_token()));
        }
        let now = self.clock.now();
        let id = token.id();
        match self.slot.entry_of(token, stamp, self.windows, now) {
            Ok(entry)
                if entry.is_usable(now)
                    && goal.accepts(id)
                    && !self.slot.is_rejected(id)
                    && !self.slot.entry().is_some_and(|cached| cached.supersedes(id)) =>
            {
                StorageLookup::Usable(Arc::new(entry))
            }
            Ok(entry) => self.local_only_or_unusable(goal, Some(entry.credential().token().clone())),
            // A header cannot carry the token's type: treat the token as a miss.
            Err(_) => StorageLookup::NotUsable(None),
        }
    }

    /// The cached token, if it is valid as far as the manager knows, for when neither storage nor token endpoint
    /// answers.
    pub(super) fn stand_in(&self, goal: RenewalGoal) -> Option<Arc<Entry>> {
        self.cached_if(goal, |entry| self.slot.is_current(entry))
    }

    pub(super) async fn delete_if(&self, id: TokenId) {
        let Some(storage) = &self.storage else { return };
        if let Err(error) = self.bounded(delete_if(storage.as_ref(), &self.key, id)).await {
            tracing::warn!(service = self.provider.service_name(), %error, "a token could not be deleted");
        }
    }

    /// Logs a failure of the storage. An unstorable token is logged once, since each use would repeat the
    /// warning. If the storage was not asked, the level is DEBUG: the storage itself has logged its outage.
    pub(super) fn warn_of_storage(&self, error: &StorageError, consequence: &str) {
        let service = self.provider.service_name();
        if error.is_unstorable() {
            self.reports.warn_unstorable_token_once(service, error);
        } else if error.is_unsent() {
            tracing::debug!(service, %error, consequence, "no token storage");
        } else {
            tracing::warn!(service, %error, consequence, "the token storage failed");
        }
    }

    /// Bounds a call of the storage. Hang: a storage that never answers must cost neither the fetch nor its token.
    pub(super) async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        if !rt::is_running() {
            return Err(StorageError::new("there is no tokio runtime to wait with"));
        }
        match self.storage_deadline().bound(catch_panic(call)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(CaughtPanic)) => Err(StorageError::new("the storage panicked")),
            Err(_) => Err(StorageError::new("the storage did not answer in time")),
        }
    }

    pub(super) fn storage_deadline(&self) -> Deadline {
        Deadline::after(self.storage_timeout())
    }

    /// How long one call of the storage may take.
    pub(super) fn storage_timeout(&self) -> Duration {
        MAX_STORAGE_CALL.min(self.fetch_timeout() / 8)
    }

    fn local_only_or_unusable(&self, goal: RenewalGoal, instead: Option<TokenData>) -> StorageLookup {
        // If the generation has changed since, another process had this token too and has invalidated it.
        match self.cached_if(goal, |entry| !entry.is_stored() && self.slot.is_current(entry)) {
            Some(entry) => StorageLookup::LocalOnly(entry, instead),
            None => StorageLookup::NotUsable(instead),
        }
    }

    /// The cached token, if it meets the goal and the condition. Without it a broken storage would cost a token call per
    /// caller.
    fn cached_if(&self, goal: RenewalGoal, condition: impl FnOnce(&Entry) -> bool) -> Option<Arc<Entry>> {
        let now = self.clock.now();
        let entry = self.slot.entry().filter(|entry| {
            entry.is_usable(now) && goal.accepts(entry.credential().id()) && condition(entry)
        })?;
        Some(self.slot.renewed(&entry))
    }
}

/// How long one call of the storage may take at most. Callers wait meanwhile, and a fetch without the storage is better
/// than a longer wait.
const MAX_STORAGE_CALL: Duration = Duration::from_secs(2);

async fn delete_if(storage: &dyn TokenStorage, key: &str, id: TokenId) -> Result<(), StorageError> {
    if let Some(comparing) = storage.compare_and_delete() {
        comparing.delete_if(key, id).await?;
    } else if storage.get(key).await?.is_some_and(|token| token.id() == id) {
        storage.delete(key).await?;
    }
    Ok(())
}
