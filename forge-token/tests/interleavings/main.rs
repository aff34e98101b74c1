//! The manager's own source, compiled over a runtime in which shuttle chooses the task that runs next. It
//! tries many thousands of orders. A test with sleeps would try one.

#![allow(dead_code, unreachable_pub, unused_imports, missing_docs, clippy::expect_used)]

mod forced;
#[path = "../../src/manager/mod.rs"]
mod manager;
mod rt;
mod world;

use std::sync::Arc;

use forge_core::{TokenData, TokenSource, TokenStorage};
use forge_storage_memory::InMemoryTokenStorage;
use shuttle::future::{block_on, spawn, yield_now};

use manager::TokenManager;
use world::{CountingProvider, HoardingProvider, YieldingStorage, explore, join_all};

/// A manager for each kind of slot: without a storage, over a storage with announcements, and over one that
/// it asks each time.
fn managers(provider: &Arc<CountingProvider>) -> [TokenManager; 3] {
    let builder = || TokenManager::builder(Arc::clone(provider));
    [
        builder().build().expect("a manager"),
        builder()
            .storage(YieldingStorage::announced(InMemoryTokenStorage::new()))
            .build()
            .expect("a manager"),
        builder()
            .storage(YieldingStorage::unannounced(InMemoryTokenStorage::new()))
            .build()
            .expect("a manager"),
    ]
}

#[test]
fn inv01_any_number_of_concurrent_callers_one_fetch() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for manager in managers(&provider) {
            let before = provider.fetches();
            let callers = (0..4).map(|_| {
                let manager = manager.clone();
                async move { manager.get_token().await.expect("a token").id() }
            });
            let ids = join_all(callers).await;
            assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
            assert_eq!(provider.fetches(), before + 1);
        }
    });
}

#[test]
fn inv01_two_managers_over_one_storage_one_fetch() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        let storage = InMemoryTokenStorage::new();
        let callers = (0..4).map(|i| {
            let (provider, storage) = (Arc::clone(&provider), storage.clone());
            let storage = if i % 2 == 0 {
                YieldingStorage::announced(storage)
            } else {
                YieldingStorage::unannounced(storage)
            };
            let manager = TokenManager::builder(provider).storage(storage).build().expect("a manager");
            async move { manager.get_token().await.expect("a token").id() }
        });
        let ids = join_all(callers).await;
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(provider.fetches(), 1);
    });
}

#[test]
fn inv02_a_caller_that_goes_away_takes_nothing_down() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for manager in managers(&provider) {
            let before = provider.fetches();
            let callers = (0..4).map(|i| {
                let manager = manager.clone();
                async move {
                    if i % 2 == 0 {
                        world::poll_a_few_times(manager.get_token()).await;
                    } else {
                        manager.get_token().await.expect("a token");
                    }
                }
            });
            join_all(callers).await;
            assert_eq!(provider.fetches(), before + 1);
        }
    });
}

#[test]
fn inv03_a_panic_is_an_error_for_all_who_wait_and_the_next_caller_starts_afresh() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::panicking_once());
        let manager = TokenManager::new(Arc::clone(&provider));
        let callers = (0..3).map(|_| {
            let manager = manager.clone();
            async move { manager.get_token().await.is_ok() }
        });
        let served = join_all(callers).await;
        // A late caller may have joined the next flight.
        assert!(served.contains(&false));
        assert!(manager.get_token().await.is_ok());
        assert_eq!(provider.fetches(), 2);
    });
}

#[test]
fn inv03_a_flight_lost_with_its_runtime_is_flown_again_for_those_who_wait() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        let manager = TokenManager::new(Arc::clone(&provider));
        rt::lose_next_task();
        let callers = (0..3).map(|_| {
            let manager = manager.clone();
            async move { manager.get_token().await.expect("a token").id() }
        });
        let ids = join_all(callers).await;
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    });
}

#[test]
fn inv11_all_who_were_rejected_with_one_token_cause_one_renewal() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for manager in managers(&provider) {
            let revoked = manager.get_token().await.expect("a token");
            revoked.mark_accepted();
            let before = provider.fetches();
            let callers = (0..4).map(|i| {
                let (manager, revoked) = (manager.clone(), Arc::clone(&revoked));
                async move {
                    if i == 0 {
                        manager.get_token().await.expect("a token");
                    }
                    manager.refresh_rejected(&revoked).await.expect("a renewal").expect("another token").id()
                }
            });
            let ids = join_all(callers).await;
            assert!(ids.iter().all(|id| *id == ids[0] && *id != revoked.id()));
            assert_eq!(provider.fetches(), before + 1);
        }
    });
}

#[test]
fn inv11_a_token_that_calls_mark_and_ask_for_at_once_is_renewed_once_and_the_renewal_counts() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for manager in managers(&provider) {
            let revoked = manager.get_token().await.expect("a token");
            let before = provider.fetches();
            let callers = (0..4).map(|i| {
                let (manager, revoked) = (manager.clone(), Arc::clone(&revoked));
                async move {
                    match i {
                        0 => manager
                            .refresh_rejected(&revoked)
                            .await
                            .expect("a renewal")
                            .map(|token| token.id()),
                        1 => Some(manager.get_token().await.expect("a token").id())
                            .filter(|id| *id != revoked.id()),
                        _ => {
                            manager.mark_rejected(&revoked);
                            Some(manager.get_token().await.expect("a token").id())
                        }
                    }
                }
            });
            let ids = join_all(callers).await;
            let renewed = manager.get_token().await.expect("a token").id();
            assert!(renewed != revoked.id() && ids.iter().flatten().all(|id| *id == renewed));
            assert_eq!(provider.fetches(), before + 1);
            assert!(!manager.next_renewal_in().is_zero(), "the renewal counts, whichever call began it");
        }
    });
}

#[test]
fn inv11_a_rejected_token_is_not_handed_out_once_its_renewal_is_done() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for manager in managers(&provider) {
            let revoked = manager.get_token().await.expect("a token");
            let other = spawn({
                let manager = manager.clone();
                async move { manager.get_token().await.expect("a token") }
            });
            let renewed =
                manager.refresh_rejected(&revoked).await.expect("a renewal").expect("another token");
            assert_eq!(manager.get_token().await.expect("a token").id(), renewed.id());
            other.await.expect("no panic");
            assert_eq!(manager.get_token().await.expect("a token").id(), renewed.id());
        }
    });
}

#[test]
fn inv11_two_managers_that_were_rejected_with_one_token_renew_once() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        let storage = InMemoryTokenStorage::new();
        for wrap in [YieldingStorage::announced, YieldingStorage::unannounced] {
            let manager = || {
                TokenManager::builder(Arc::clone(&provider))
                    .storage(wrap(storage.clone()))
                    .build()
                    .expect("a manager")
            };
            let (one, two) = (manager(), manager());
            let revoked = [one.get_token().await.expect("a token"), two.get_token().await.expect("a token")];
            assert_eq!(revoked[0].id(), revoked[1].id());
            let before = provider.fetches();
            let callers = [one, two].into_iter().zip(revoked).map(|(manager, revoked)| async move {
                manager.refresh_rejected(&revoked).await.expect("a renewal").expect("another token").id()
            });
            let ids = join_all(callers).await;
            assert_eq!(ids[0], ids[1]);
            assert_eq!(provider.fetches(), before + 1);
        }
    });
}

#[test]
fn inv19_what_somebody_else_stores_meanwhile_is_noticed() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        let storage = InMemoryTokenStorage::new();
        let manager = TokenManager::builder(provider)
            .storage(YieldingStorage::announced(storage.clone()))
            .build()
            .expect("a manager");
        let writer = spawn({
            let storage = YieldingStorage::announced(storage.clone());
            let key = manager.cache_key().to_owned();
            async move {
                world::pause().await;
                storage.set(&key, &TokenData::new("t1000")).await.expect("set");
            }
        });
        manager.force_refresh().await.expect("a token");
        writer.await.expect("no panic");
        let stored = storage.get(manager.cache_key()).await.expect("asked").expect("a token");
        assert_eq!(manager.get_token().await.expect("a token").id(), stored.id());
    });
}

#[test]
fn after_an_invalidation_only_tokens_fetched_later_are_handed_out() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for (manager, is_warm) in managers(&provider).into_iter().zip([true, false, true]) {
            invalidated_in_mid_flight(&provider, &manager, is_warm).await;
        }
        for (manager, is_warm) in managers(&provider).into_iter().zip([false, true, false]) {
            invalidated_in_mid_flight(&provider, &manager, is_warm).await;
        }
    });
}

async fn invalidated_in_mid_flight(provider: &CountingProvider, manager: &TokenManager, is_warm: bool) {
    if is_warm {
        manager.get_token().await.expect("a token");
    }
    let other = spawn({
        let manager = manager.clone();
        async move {
            world::pause().await;
            manager.get_token().await.expect("a token");
        }
    });
    world::pause().await;
    let begun_before = provider.fetches();
    manager.invalidate_token().await.expect("forgotten");
    for _ in 0..2 {
        let token = manager.get_token().await.expect("a token");
        assert!(world::number(&token) > begun_before, "a token from before the invalidation");
        world::pause().await;
    }
    other.await.expect("no panic");
    assert!(world::number(&manager.get_token().await.expect("a token")) > begun_before);
}

#[test]
fn force_refresh_brings_a_token_fetched_anew() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for manager in managers(&provider) {
            let old = manager.get_token().await.expect("a token");
            let callers = (0..3).map(|i| {
                let (manager, old) = (manager.clone(), Arc::clone(&old));
                async move {
                    if i == 0 {
                        manager.get_token().await.expect("a token");
                    } else {
                        assert_ne!(manager.force_refresh().await.expect("a token").id(), old.id());
                    }
                }
            });
            join_all(callers).await;
        }
    });
}

/// After an invalidation no caller gets a token that the provider had cached before it.
#[test]
fn inv11_an_invalidation_reaches_what_a_provider_has_at_hand() {
    explore(|| async {
        let provider = Arc::new(HoardingProvider::default());
        let storage = InMemoryTokenStorage::new();
        let manager = |storage| TokenManager::builder(Arc::clone(&provider)).storage(storage).build();
        let manager = manager(YieldingStorage::announced(storage)).expect("a manager");
        let others: Vec<_> = (0..2)
            .map(|_| {
                let manager = manager.clone();
                spawn(async move {
                    world::pause().await;
                    manager.get_token().await.expect("a token");
                })
            })
            .collect();
        world::pause().await;
        let before = provider.fetches();
        manager.invalidate_token().await.expect("an invalidation");
        let after = manager.get_token().await.expect("a token");
        assert!(world::number(&after) > before);
        for other in others {
            other.await.expect("no panic");
        }
        let last = manager.get_token().await.expect("a token");
        assert!(world::number(&last) > before);
    });
}

#[test]
fn inv11_what_was_read_before_an_invalidation_does_not_stand_in_for_the_storage_after_it() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for (is_found, wrap) in [
            (false, YieldingStorage::unannounced as fn(_) -> _),
            (true, YieldingStorage::unannounced),
            (false, YieldingStorage::announced),
        ] {
            let storage = wrap(InMemoryTokenStorage::new());
            let manager = TokenManager::builder(Arc::clone(&provider)).storage(storage.clone()).build();
            let manager = manager.expect("a manager");
            manager.get_token().await.expect("a token");
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let manager = manager.clone();
                    spawn(async move {
                        world::pause().await;
                        if is_found {
                            manager.as_dependency().find_token().await;
                        } else {
                            manager.get_token().await.expect("a token");
                        }
                    })
                })
                .collect();
            world::pause().await;
            let begun_before = provider.fetches();
            manager.invalidate_token().await.expect("forgotten");
            for reader in readers {
                reader.await.expect("no panic");
            }
            storage.refuse_reads();
            let token = manager.get_token().await.expect("a token");
            assert!(world::number(&token) > begun_before, "a token from before the invalidation");
        }
    });
}

#[test]
fn inv11_what_was_discarded_while_it_was_compared_with_the_storage_is_not_handed_out() {
    explore(|| async {
        let provider = Arc::new(CountingProvider::default());
        for wrap in [YieldingStorage::announced, YieldingStorage::unannounced] {
            let inner = InMemoryTokenStorage::new();
            let storage = wrap(inner.clone());
            let manager = TokenManager::builder(Arc::clone(&provider)).storage(storage.clone()).build();
            let manager = manager.expect("a manager");
            let discarded = manager.get_token().await.expect("a token");
            // The token stays in the storage, so only the manager's own record of the discard can help.
            storage.refuse_writes();
            // The storage announces the same token as a change, so the next caller compares it with the
            // discarded one.
            inner.set(manager.cache_key(), discarded.token()).await.expect("set");
            let comparing = spawn({
                let manager = manager.clone();
                async move {
                    world::pause().await;
                    manager.get_token().await.expect("a token");
                }
            });
            world::pause().await;
            manager.as_dependency().discard_token(discarded.id()).await;
            for _ in 0..2 {
                assert_ne!(manager.get_token().await.expect("a token").id(), discarded.id());
                world::pause().await;
            }
            comparing.await.expect("no panic");
            assert_ne!(manager.get_token().await.expect("a token").id(), discarded.id());
        }
    });
}
