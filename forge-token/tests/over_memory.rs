//! Managers over one storage in memory: a verdict of one manager on a token holds for all.

#![allow(clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_core::{AuthenticationError, TokenData, TokenProvider, async_trait};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::TokenManager;
use tokio::sync::Semaphore;

/// Fetches `t1`, `t2`, …, each when the test allows it.
struct GatedProvider {
    begun: AtomicUsize,
    allowed: Semaphore,
}

#[async_trait]
impl TokenProvider for GatedProvider {
    fn service_name(&self) -> &'static str {
        "gated"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.allowed.acquire().await.expect("open").forget();
        Ok(TokenData::new(format!("t{number}")))
    }
}

async fn token(manager: &TokenManager) -> String {
    manager.get_token().await.expect("a token").access_token().to_owned()
}

#[tokio::test]
async fn inv19_what_was_invalidated_while_another_manager_fetched_it_serves_only_who_waits_there() {
    for way in ["a manager", "the storage's clear"] {
        let storage = InMemoryTokenStorage::new();
        let provider = Arc::new(GatedProvider { begun: AtomicUsize::new(0), allowed: Semaphore::new(0) });
        let manager = || {
            let builder = TokenManager::builder(Arc::clone(&provider)).storage(storage.clone());
            builder.build().expect("a manager")
        };
        let (one, other) = (manager(), manager());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let other = other.clone();
                tokio::spawn(async move { token(&other).await })
            })
            .collect();
        while provider.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        if way == "a manager" {
            one.invalidate_token().await.expect("told");
        } else {
            storage.clear();
        }
        provider.allowed.add_permits(2);
        for waiting in waiting {
            assert_eq!(waiting.await.expect("no panic"), "t1", "{way}: who waited is served");
        }
        for manager in [&one, &other, &one] {
            assert_eq!(token(manager).await, "t2", "{way}: nobody else is, also where it was fetched");
        }
        assert_eq!(provider.begun.load(Ordering::SeqCst), 2, "{way}");
    }
}
