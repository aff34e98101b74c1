//! `force_refresh` returns a token with all rights granted before the call, in any order of fetches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forge_core::{AuthenticationError, TokenData, TokenProvider, async_trait};
use shuttle::future::{spawn, yield_now};

use crate::manager::TokenManager;
use crate::world::{explore, join_all, number, pause};

/// Hands out tokens that name the rights which were granted when the call began.
#[derive(Default)]
struct GrantingProvider {
    rights: AtomicU64,
    fetches: AtomicU64,
}

#[async_trait]
impl TokenProvider for GrantingProvider {
    fn service_name(&self) -> &'static str {
        "granting"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let rights = self.rights.load(Ordering::SeqCst);
        self.fetches.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        yield_now().await;
        Ok(TokenData::new(format!("t{rights}")))
    }
}

#[test]
fn a_fetch_that_began_before_does_not_serve_force_refresh() {
    explore(|| async {
        let provider = Arc::new(GrantingProvider::default());
        let manager = TokenManager::new(Arc::clone(&provider));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let manager = manager.clone();
                spawn(async move {
                    pause().await;
                    manager.get_token().await.expect("a token");
                })
            })
            .collect();
        let callers = (0..3).map(|_| {
            let (manager, provider) = (manager.clone(), Arc::clone(&provider));
            async move {
                pause().await;
                let granted = provider.rights.fetch_add(1, Ordering::SeqCst) + 1;
                let token = manager.force_refresh().await.expect("a token");
                assert!(number(&token) >= granted, "rights are missing that were granted before the call");
            }
        });
        join_all(callers).await;
        for other in others {
            other.await.expect("no panic");
        }
    });
}

#[test]
fn force_refresh_alone_is_one_fetch_even_if_that_begins_at_once() {
    explore(|| async {
        let provider = Arc::new(GrantingProvider::default());
        let manager = TokenManager::new(Arc::clone(&provider));
        for fetches in 1..=2 {
            manager.force_refresh().await.expect("a token");
            assert_eq!(provider.fetches.load(Ordering::SeqCst), fetches);
        }
    });
}
