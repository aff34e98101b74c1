use std::sync::Arc;
use std::time::Duration;

use forge_core::{Clock, Credential, ManualClock};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::{TokenManager, TokenManagerBuilder};

use crate::issuer::Issuer;

/// The kind of storage in which the manager keeps its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    None,
    Memory,
}

pub(crate) const STORAGES: [Storage; 2] = [Storage::None, Storage::Memory];

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) storage: Option<InMemoryTokenStorage>,
    pub(crate) manager: TokenManager,
}

impl World {
    /// A manager with the token `t1`, which is new.
    pub(crate) async fn with_token(storage: Storage, has_full_grant: bool) -> Self {
        Self::build(storage, has_full_grant, |builder| builder).await
    }

    pub(crate) async fn build(
        storage: Storage,
        has_full_grant: bool,
        settings: impl FnOnce(TokenManagerBuilder) -> TokenManagerBuilder,
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let issuer = Issuer::new(Arc::clone(&clock) as Arc<dyn Clock>, has_full_grant);
        let storage = (storage == Storage::Memory)
            .then(|| InMemoryTokenStorage::builder().clock(Arc::clone(&clock) as _).build());
        let mut builder =
            TokenManager::builder(Arc::clone(&issuer)).cache_key("key").clock(Arc::clone(&clock) as _);
        if let Some(storage) = &storage {
            builder = builder.storage(storage.clone());
        }
        let manager = settings(builder).build().expect("a manager");
        let world = Self { clock, issuer, storage, manager };
        assert_eq!(world.token().await, "t1");
        world
    }

    /// Another manager over the same storage, as after a restart.
    pub(crate) fn another_manager(&self) -> TokenManager {
        let builder = TokenManager::builder(Arc::clone(&self.issuer))
            .cache_key("key")
            .clock(Arc::clone(&self.clock) as _);
        builder.storage(self.storage.clone().expect("a storage")).build().expect("a manager")
    }

    pub(crate) async fn token(&self) -> String {
        name(&self.manager.get_token().await.expect("a token"))
    }

    /// Lets the cached token expire.
    pub(crate) fn expire(&self) {
        self.clock.advance(Duration::from_secs(3600));
    }

    /// Moves the clock into the advisory window: the manager must renew the cached token, and may hand it
    /// out for at least another 30 s.
    pub(crate) fn enter_the_advisory_window(&self) {
        let status = self.manager.status();
        let left = status.usable_for.expect("a token that expires");
        self.clock.advance(left.checked_sub(Duration::from_secs(30)).expect("a long life"));
    }

    /// Lets cool-downs end: without a `Retry-After`, the longest lasts a minute.
    pub(crate) fn cool_down(&self) {
        self.clock.advance(Duration::from_secs(60));
    }

    /// Waits until background tasks have ended.
    pub(crate) async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn name(token: &Credential) -> String {
    token.access_token().to_owned()
}
