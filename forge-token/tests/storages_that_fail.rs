//! Storages that hang, lose writes, or are changed by others: they cost a warning, never a token, and no
//! refresh token is sent twice.

#![allow(clippy::expect_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{AuthenticationError, StorageError, TokenData, TokenProvider, TokenStorage, async_trait};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::TokenManager;

/// Every token has a refresh token, good for one use: `r0`, `r1`, …
#[derive(Default)]
struct RotatingProvider {
    issued: AtomicUsize,
    grants: AtomicUsize,
    sent: Mutex<Vec<String>>,
}

impl RotatingProvider {
    fn issue(&self) -> TokenData {
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        TokenData::new(format!("t{number}")).with_refresh_token(format!("r{number}"))
    }

    fn assert_none_sent_twice(&self) {
        let sent = self.sent.lock().expect("unpoisoned");
        let distinct: std::collections::HashSet<_> = sent.iter().collect();
        assert_eq!(distinct.len(), sent.len(), "{sent:?}");
    }
}

#[async_trait]
impl TokenProvider for RotatingProvider {
    fn service_name(&self) -> &'static str {
        "rotating"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        self.grants.fetch_add(1, Ordering::SeqCst);
        Ok(self.issue())
    }

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let sent = current.refresh_token().expect("a refresh token").to_owned();
        self.sent.lock().expect("unpoisoned").push(sent);
        Ok(self.issue())
    }
}

/// The documents' four methods, each of which can be made to misbehave.
#[derive(Debug, Default)]
struct MoodyStorage {
    tokens: Mutex<HashMap<String, TokenData>>,
    get_hangs: AtomicBool,
    set_hangs: AtomicBool,
    set_fails: AtomicBool,
    delete_fails: AtomicBool,
}

#[async_trait]
impl TokenStorage for MoodyStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        if self.get_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(self.tokens.lock().expect("unpoisoned").get(key).cloned())
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        if self.set_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.set_fails.load(Ordering::SeqCst) {
            return Err(StorageError::new("read-only"));
        }
        self.tokens.lock().expect("unpoisoned").insert(key.to_owned(), token.clone());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        if self.delete_fails.load(Ordering::SeqCst) {
            return Err(StorageError::new("read-only"));
        }
        self.tokens.lock().expect("unpoisoned").remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.tokens.lock().expect("unpoisoned").contains_key(key))
    }
}

fn manager(provider: &Arc<RotatingProvider>, storage: &Arc<MoodyStorage>) -> TokenManager {
    TokenManager::builder(Arc::clone(provider)).storage(Arc::clone(storage)).build().expect("a manager")
}

#[tokio::test(start_paused = true)]
async fn inv18_a_storage_that_hangs_costs_no_token() {
    let (provider, storage) = (Arc::new(RotatingProvider::default()), Arc::new(MoodyStorage::default()));
    storage.get_hangs.store(true, Ordering::SeqCst);
    storage.set_hangs.store(true, Ordering::SeqCst);
    manager(&provider, &storage).get_token().await.expect("a token");
}

#[tokio::test(start_paused = true)]
async fn inv05_a_rotated_refresh_token_survives_a_storage_that_does_not_take_it() {
    for hangs in [true, false] {
        let (provider, storage) = (Arc::new(RotatingProvider::default()), Arc::new(MoodyStorage::default()));
        let manager = manager(&provider, &storage);
        let mut token = manager.get_token().await.expect("a token");
        let mood = if hangs { &storage.set_hangs } else { &storage.set_fails };
        mood.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            token.mark_accepted();
            token = manager.refresh_rejected(&token).await.expect("a renewal").expect("another token");
        }
        assert_eq!(provider.grants.load(Ordering::SeqCst), 1);
        provider.assert_none_sent_twice();
    }
}

#[tokio::test]
async fn inv18_an_old_record_that_cannot_be_replaced_costs_no_call_per_caller() {
    let (provider, storage) = (Arc::new(RotatingProvider::default()), Arc::new(MoodyStorage::default()));
    let manager = manager(&provider, &storage);
    let old = TokenData::new("old")
        .with_refresh_token("old")
        .with_expires_at(chrono::Utc::now() - Duration::from_secs(60));
    storage.set(manager.cache_key(), &old).await.expect("set");
    storage.set_fails.store(true, Ordering::SeqCst);
    for _ in 0..100 {
        manager.get_token().await.expect("a token");
    }
    assert_eq!((provider.issued.load(Ordering::SeqCst), provider.grants.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn inv05_what_was_invalidated_elsewhere_is_not_refreshed() {
    let (provider, storage) = (Arc::new(RotatingProvider::default()), InMemoryTokenStorage::new());
    let manager =
        || TokenManager::builder(Arc::clone(&provider)).storage(storage.clone()).build().expect("a manager");
    let (one, two) = (manager(), manager());
    let token = one.get_token().await.expect("a token");
    two.get_token().await.expect("a token");
    one.refresh_rejected(&token).await.expect("a renewal").expect("another token");
    one.invalidate_token().await.expect("forgotten");
    two.get_token().await.expect("a token");
    provider.assert_none_sent_twice();
    assert_eq!(provider.grants.load(Ordering::SeqCst), 2);
}

#[test]
fn without_a_runtime_there_is_a_clear_error_over_any_storage() {
    let manager = manager(&Arc::default(), &Arc::default());
    let mut call = std::pin::pin!(manager.get_token());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(result) = call.as_mut().poll(&mut context) else { panic!("it must not wait") };
    assert!(result.expect_err("no runtime").to_string().contains("runtime"));
}

#[test]
fn inv03_a_write_in_a_runtime_that_nobody_drives_holds_nobody_up() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (provider, storage) = (Arc::new(RotatingProvider::default()), Arc::new(MoodyStorage::default()));
    let manager = TokenManager::builder(Arc::clone(&provider))
        .storage(Arc::clone(&storage))
        .fetch_timeout(Duration::from_millis(400))
        .build()
        .expect("a manager");
    storage.set_hangs.store(true, Ordering::SeqCst);
    let idle = runtime();
    idle.block_on(async {
        assert!(tokio::time::timeout(Duration::from_millis(10), manager.get_token()).await.is_err());
    });
    storage.set_hangs.store(false, Ordering::SeqCst);
    runtime().block_on(async {
        // The first one may still have waited for the stuck flight.
        let _ = manager.get_token().await;
        manager.force_refresh().await.expect("a token");
    });
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn inv11_what_was_given_up_while_the_storage_was_away_does_not_come_back_with_it() {
    for way in ["rejected", "invalidated", "replaced"] {
        let (provider, storage) = (Arc::new(RotatingProvider::default()), Arc::new(MoodyStorage::default()));
        let manager = manager(&provider, &storage);
        let before = manager.get_token().await.expect("a token");
        for moody in [&storage.get_hangs, &storage.set_hangs, &storage.delete_fails] {
            moody.store(true, Ordering::SeqCst);
        }
        let renewed = match way {
            "rejected" => manager.refresh_rejected(&before).await.expect("a token").expect("another token"),
            "invalidated" => {
                manager.invalidate_token().await.expect_err("the storage is not told");
                manager.get_token().await.expect("a token")
            }
            _ => manager.force_refresh().await.expect("a token"),
        };
        for moody in [&storage.get_hangs, &storage.set_hangs, &storage.delete_fails] {
            moody.store(false, Ordering::SeqCst);
        }
        assert_eq!(manager.get_token().await.expect("a token").id(), renewed.id(), "{way}");
        assert_eq!(provider.issued.load(Ordering::SeqCst), 2, "{way}");
    }
}
