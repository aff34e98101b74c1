//! Hooks and storages that fail after a token was obtained (invariant 25).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, StorageError, TokenData, TokenProvider, TokenStorage,
    async_trait,
};
use forge_token::TokenManager;
use tokio::time::{Instant, sleep};

use crate::world::{STORAGES, Storage, World, name};

/// How a hook misbehaves.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Hangs,
    Panics,
    PanicsAtOnce,
}

#[tokio::test(start_paused = true)]
async fn inv25_a_hook_that_hangs_or_panics_loses_no_refresh_token() {
    for storage in STORAGES {
        for fault in [Fault::Hangs, Fault::Panics, Fault::PanicsAtOnce] {
            let is_on = Arc::new(AtomicBool::new(false));
            let world = World::build(storage, true, |builder| {
                let is_on = Arc::clone(&is_on);
                builder.fetch_timeout(Duration::from_secs(2)).on_refresh_token(move |_| {
                    let is_on = is_on.load(Ordering::SeqCst);
                    assert!(!(is_on && matches!(fault, Fault::PanicsAtOnce)), "on purpose");
                    async move {
                        match fault {
                            Fault::Hangs if is_on => std::future::pending().await,
                            Fault::Panics => assert!(!is_on, "on purpose"),
                            _ => {}
                        }
                    }
                })
            })
            .await;
            is_on.store(true, Ordering::SeqCst);
            world.expire();
            let begun = Instant::now();
            assert_eq!(world.token().await, "t2", "{storage:?} {fault:?}");
            let limit = if matches!(fault, Fault::Hangs) { 5 } else { 0 };
            assert_eq!(begun.elapsed().as_secs(), limit, "{storage:?} {fault:?}: no longer than the setting");
            world.expire();
            assert_eq!(world.token().await, "t3", "{storage:?} {fault:?}");
            assert_eq!(world.issuer.sent(), ["r1", "r2"], "{storage:?} {fault:?}: no token is sent twice");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_hook_is_a_setting() {
    let limit = Duration::from_millis(700);
    let hangs = Arc::new(AtomicBool::new(false));
    let world = World::build(Storage::None, true, |builder| {
        let hangs = Arc::clone(&hangs);
        builder.on_refresh_token_timeout(limit).on_refresh_token(move |_| {
            let hangs = Arc::clone(&hangs);
            async move {
                if hangs.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
            }
        })
    })
    .await;
    hangs.store(true, Ordering::SeqCst);
    world.expire();
    let begun = Instant::now();
    assert_eq!(world.token().await, "t2");
    assert_eq!(begun.elapsed(), limit);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_asks_its_own_manager_is_told_at_once() {
    let manager = Arc::new(OnceLock::<TokenManager>::new());
    let told = Arc::new(Mutex::new(Vec::new()));
    let world = World::build(Storage::Memory, true, |builder| {
        let (manager, told) = (Arc::clone(&manager), Arc::clone(&told));
        builder.on_refresh_token(move |_| {
            let (manager, told) = (manager.get().cloned(), Arc::clone(&told));
            async move {
                let Some(manager) = manager else { return };
                let errors = [manager.get_token().await.err(), manager.force_refresh().await.err()];
                told.lock().expect("unpoisoned").extend(errors);
            }
        })
    })
    .await;
    manager.set(world.manager.clone()).expect("set once");
    world.expire();
    let begun = Instant::now();
    assert_eq!(world.token().await, "t2");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let told = std::mem::take(&mut *told.lock().expect("unpoisoned"));
    assert_eq!(told.len(), 2);
    for error in &told {
        let error = error.as_ref().expect("an error");
        assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration, "{error:?}");
        assert!(error.to_string().contains("on_refresh_token"), "{error}");
    }
    // Outside of the hook the same manager answers.
    assert_eq!(world.token().await, "t2");
}

/// A storage whose writes hang or panic.
#[derive(Debug)]
struct UnwritableStorage {
    panics: bool,
}

#[async_trait]
impl TokenStorage for UnwritableStorage {
    async fn get(&self, _key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(None)
    }

    async fn set(&self, _key: &str, _token: &TokenData) -> Result<(), StorageError> {
        assert!(!self.panics, "on purpose");
        std::future::pending().await
    }

    async fn delete(&self, _key: &str) -> Result<(), StorageError> {
        Ok(())
    }

    async fn exists(&self, _key: &str) -> Result<bool, StorageError> {
        Ok(false)
    }
}

/// Fetches and refreshes in 1.85 s.
#[derive(Default)]
struct SlowProvider {
    calls: AtomicUsize,
}

#[async_trait]
impl TokenProvider for SlowProvider {
    fn service_name(&self) -> &'static str {
        "slow"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        sleep(Duration::from_millis(1_850)).await;
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(TokenData::new(format!("t{number}")).with_refresh_token(format!("r{number}")))
    }
}

#[tokio::test(start_paused = true)]
async fn inv25_a_token_is_handed_out_and_kept_when_storing_it_outlasts_the_fetch() {
    for panics in [false, true] {
        let provider = Arc::new(SlowProvider::default());
        let manager = TokenManager::builder(Arc::clone(&provider))
            .storage(UnwritableStorage { panics })
            .fetch_timeout(Duration::from_secs(2))
            .build()
            .expect("a manager");
        for _ in 0..5 {
            assert_eq!(name(&manager.get_token().await.expect("a token")), "t1", "panics: {panics}");
        }
        assert_eq!(provider.calls.load(Ordering::SeqCst), 1, "panics: {panics}");
    }
}
