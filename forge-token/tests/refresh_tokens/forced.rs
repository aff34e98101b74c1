//! `force_refresh` and fetches under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_core::{AuthenticationError, TokenData, TokenProvider, async_trait};
use forge_token::TokenManager;
use tokio::time::sleep;

use crate::world::name;

/// Fetches `t1`, `t2`, … in a second each.
#[derive(Default)]
struct SlowProvider(AtomicUsize);

#[async_trait]
impl TokenProvider for SlowProvider {
    fn service_name(&self) -> &'static str {
        "slow"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        sleep(Duration::from_secs(1)).await;
        Ok(TokenData::new(format!("t{number}")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_does_not_serve_force_refresh() {
    let provider = Arc::new(SlowProvider::default());
    let manager = TokenManager::new(Arc::clone(&provider));
    let earlier = tokio::spawn({
        let manager = manager.clone();
        async move { name(&manager.get_token().await.expect("a token")) }
    });
    sleep(Duration::from_millis(500)).await;
    let later: Vec<_> = (0..100)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { name(&manager.force_refresh().await.expect("a token")) })
        })
        .collect();
    assert_eq!(earlier.await.expect("no panic"), "t1");
    for later in later {
        assert_eq!(later.await.expect("no panic"), "t2", "they share the next fetch");
    }
    assert_eq!(provider.0.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_who_come_together_share_one_fetch() {
    let provider = Arc::new(SlowProvider::default());
    let manager = TokenManager::new(Arc::clone(&provider));
    let (one, two) = tokio::join!(manager.force_refresh(), manager.force_refresh());
    assert_eq!(one.expect("a token").id(), two.expect("a token").id());
    assert_eq!(provider.0.load(Ordering::SeqCst), 1);
}

/// The first fetch never ends.
#[derive(Default)]
struct StuckProvider(AtomicUsize);

#[async_trait]
impl TokenProvider for StuckProvider {
    fn service_name(&self) -> &'static str {
        "stuck"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        if number == 1 {
            std::future::pending::<()>().await;
        }
        Ok(TokenData::new(format!("t{number}")))
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_fetch_that_fails_is_no_failure_of_force_refresh() {
    let manager =
        TokenManager::builder(StuckProvider::default()).fetch_timeout(Duration::from_secs(3)).build();
    let manager = manager.expect("a manager");
    let earlier = tokio::spawn({
        let manager = manager.clone();
        async move { manager.get_token().await }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(name(&manager.force_refresh().await.expect("a token")), "t2");
    assert!(earlier.await.expect("no panic").expect_err("it hangs").is_timeout());
}
