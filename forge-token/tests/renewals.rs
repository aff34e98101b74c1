//! Tokens whose renewal fails, and rejected tokens whose replacement was lost.

#![allow(clippy::expect_used, missing_docs)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, Credential, ManualClock, StorageError, TokenData,
    TokenProvider, TokenStorage, async_trait,
};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::{TokenManager, TokenManagerBuilder};

/// Issues `t1`, `t2`, … for an hour each, as long as it is up. With `repeats` it issues the last one again.
#[derive(Debug)]
struct Issuer {
    calls: AtomicUsize,
    is_down: AtomicBool,
    repeats: AtomicBool,
    clock: Arc<ManualClock>,
}

impl Issuer {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            repeats: AtomicBool::new(false),
            clock: Arc::new(ManualClock::new()),
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn manager(self: &Arc<Self>) -> TokenManagerBuilder {
        TokenManager::builder(Arc::clone(self)).cache_key("key").clock(Arc::clone(&self.clock) as _)
    }

    fn token(&self, access_token: &str) -> TokenData {
        let now = self.clock.now().wall();
        TokenData::new(access_token).with_issued_at(now).with_expires_at(now + LIFETIME)
    }
}

const LIFETIME: Duration = Duration::from_secs(3600);

#[async_trait]
impl TokenProvider for Issuer {
    fn service_name(&self) -> &'static str {
        "issuer"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.is_down.load(Ordering::SeqCst) {
            return Err(AuthenticationError::new("", AuthenticationErrorKind::Connect));
        }
        let number = if self.repeats.load(Ordering::SeqCst) { 1 } else { call };
        Ok(self.token(&format!("t{number}")))
    }
}

/// The documents' storage: four methods and no capability.
#[derive(Debug, Default)]
struct PlainStorage(Mutex<HashMap<String, TokenData>>);

#[async_trait]
impl TokenStorage for PlainStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(self.0.lock().expect("unpoisoned").get(key).cloned())
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.0.lock().expect("unpoisoned").insert(key.to_owned(), token.clone());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.lock().expect("unpoisoned").remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.0.lock().expect("unpoisoned").contains_key(key))
    }
}

/// With announcements and leases, and without.
fn storages() -> [Arc<dyn TokenStorage>; 2] {
    [Arc::new(InMemoryTokenStorage::new()), Arc::new(PlainStorage::default())]
}

async fn token(manager: &TokenManager) -> Arc<Credential> {
    manager.get_token().await.expect("a token")
}

async fn renewed(manager: &TokenManager, rejected: &Credential) -> Option<Arc<Credential>> {
    manager.refresh_rejected(rejected).await.expect("no failure")
}

#[tokio::test(start_paused = true)]
async fn inv07_a_renewal_that_fails_leaves_the_valid_token_and_backs_off() {
    let issuer = Issuer::new();
    let manager = issuer.manager().build().expect("a manager");
    let valid = token(&manager).await;
    issuer.is_down.store(true, Ordering::SeqCst);
    // From the advisory window to the mandatory one, ten calls a second.
    issuer.clock.advance(Duration::from_secs(3600 - 300));
    let (mut attempts, mut last) = (0, issuer.calls());
    for _ in 0..269 {
        for _ in 0..10 {
            assert_eq!(token(&manager).await.id(), valid.id());
            // The background renewal ends. It may make more than one attempt.
            tokio::time::sleep(Duration::from_millis(100)).await;
            issuer.clock.advance(Duration::from_millis(100));
        }
        if issuer.calls() > last {
            (attempts, last) = (attempts + 1, issuer.calls());
        }
    }
    assert!(manager.status().has_token && manager.status().last_error.is_some());
    assert!((5..=16).contains(&attempts), "{attempts} attempts in four and a half minutes");

    // When the issuer is back, the manager renews again, and no caller has waited.
    let manager = issuer.manager().build().expect("a manager");
    issuer.is_down.store(false, Ordering::SeqCst);
    let valid = token(&manager).await;
    issuer.is_down.store(true, Ordering::SeqCst);
    issuer.clock.advance(Duration::from_secs(3600 - 200));
    assert_eq!(token(&manager).await.id(), valid.id());
    tokio::time::sleep(Duration::from_secs(1)).await;
    issuer.is_down.store(false, Ordering::SeqCst);
    issuer.clock.advance(Duration::from_secs(1));
    assert_eq!(token(&manager).await.id(), valid.id(), "the renewal is in the background");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(token(&manager).await.id(), valid.id());
    assert!(manager.status().last_error.is_none());
}

#[tokio::test]
async fn inv11_a_token_that_was_seen_rejected_is_not_adopted_again() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
        let rejected = token(&manager).await;
        rejected.mark_accepted();
        let second = renewed(&manager, &rejected).await.expect("another token");
        assert_eq!(second.access_token(), "t2");
        // A failover has lost the renewal.
        storage.set("key", rejected.token()).await.expect("set");
        assert_eq!(token(&manager).await.access_token(), "t3");
        let stored = storage.get("key").await.expect("asked").expect("a token");
        assert_eq!(stored.access_token(), "t3", "it is replaced for all");
        // No API has rejected the lost token.
        storage.set("key", second.token()).await.expect("set");
        assert_eq!(token(&manager).await.access_token(), "t2");
        assert_eq!(issuer.calls(), 3);
    }
}

#[tokio::test]
async fn inv11_the_manager_stops_handing_out_a_marked_token_unless_renewals_back_off() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = issuer.manager().storage(storage).build().expect("a manager");
        let due_in = || manager.next_renewal_in().as_secs();
        let first = token(&manager).await;
        assert_eq!(due_in(), 0);
        manager.mark_rejected(&first);
        assert!(manager.cached().is_none());
        assert_eq!((issuer.calls(), due_in()), (1, 0), "marking fetches nothing");

        // The next caller gets another token, and its call is the renewal.
        let second = token(&manager).await;
        assert_eq!((second.access_token(), due_in()), ("t2", 1));
        assert_eq!(renewed(&manager, &first).await.expect("the cached token").id(), second.id());

        // For a second the manager does not renew, and another API may accept the token.
        manager.mark_rejected(&second);
        assert_eq!(token(&manager).await.id(), second.id());
        assert!(renewed(&manager, &second).await.is_none());
        issuer.clock.advance(Duration::from_secs(1));
        assert_eq!(
            (due_in(), token(&manager).await.id()),
            (0, second.id()),
            "no API has rejected the token again"
        );
        manager.mark_rejected(&second);
        let third = token(&manager).await;
        assert_eq!((third.access_token(), due_in()), ("t3", 2));
        third.mark_accepted();
        assert_eq!((issuer.calls(), due_in()), (3, 0));
    }
}

#[tokio::test]
async fn inv11_tokens_that_are_marked_at_each_use_are_renewed_no_more_often_than_others() {
    for accepted in [false, true] {
        let mut calls = Vec::new();
        for marks in [false, true] {
            let issuer = Issuer::new();
            let manager = issuer.manager().build().expect("a manager");
            for _ in 0..200 {
                for _ in 0..20 {
                    let rejected = token(&manager).await;
                    if accepted {
                        rejected.mark_accepted();
                    }
                    if marks {
                        manager.mark_rejected(&rejected);
                    } else {
                        renewed(&manager, &rejected).await;
                    }
                }
                issuer.clock.advance(Duration::from_secs(1));
            }
            calls.push(issuer.calls());
        }
        assert!(calls[1] <= calls[0], "accepted: {accepted}, {calls:?}");
        assert!(calls[1] > 5, "marked tokens are renewed: {calls:?}");
    }
}

#[tokio::test]
async fn inv11_ten_thousand_calls_that_mark_and_renew_one_token_cause_one_token_call() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = issuer.manager().storage(storage).build().expect("a manager");
        let rejected = token(&manager).await;
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..10_000 {
            let (manager, rejected) = (manager.clone(), Arc::clone(&rejected));
            callers.spawn(async move {
                manager.mark_rejected(&rejected);
                if number % 2 == 0 {
                    return token(&manager).await.id();
                }
                renewed(&manager, &rejected).await.expect("another token").id()
            });
        }
        let ids = callers.join_all().await;
        assert!(ids.iter().all(|id| *id == ids[0] && *id != rejected.id()));
        assert_eq!(issuer.calls(), 2);
    }
}

#[tokio::test]
async fn inv11_the_next_renewal_comes_after_the_cool_down_of_a_failure() {
    let issuer = Issuer::new();
    let manager = issuer.manager().build().expect("a manager");
    let rejected = token(&manager).await;
    issuer.is_down.store(true, Ordering::SeqCst);
    // The manager does not know yet whether the next token helps, so only the cool-down counts.
    for _ in 0..3 {
        let error = manager.refresh_rejected(&rejected).await.expect_err("no connection");
        let cool_down = error.cool_down().expect("a cool-down");
        assert_eq!(manager.next_renewal_in(), cool_down);
        issuer.clock.advance(cool_down);
        assert_eq!(manager.next_renewal_in(), Duration::ZERO);
    }
    issuer.is_down.store(false, Ordering::SeqCst);
    let second = renewed(&manager, &rejected).await.expect("another token");
    assert_eq!((second.access_token(), issuer.calls()), ("t5", 5));
}

#[tokio::test]
async fn inv11_nor_one_that_was_rejected_when_another_was_at_hand() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = || issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
        let (one, two) = (manager(), manager());
        let (first, also_first) = (token(&one).await, token(&two).await);
        let second = renewed(&one, &first).await.expect("another token");
        assert_eq!(token(&two).await.id(), second.id());
        // The second manager learns late that an API has rejected the first token.
        assert_eq!(renewed(&two, &also_first).await.expect("the one at hand").id(), second.id());
        storage.set("key", first.token()).await.expect("set");
        assert_eq!(token(&two).await.access_token(), "t3");
    }
}

#[tokio::test]
async fn inv11_nor_after_an_invalidation_that_the_storage_has_lost() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
        let rejected = token(&manager).await;
        renewed(&manager, &rejected).await.expect("another token");
        manager.invalidate_token().await.expect("forgotten");
        storage.set("key", rejected.token()).await.expect("set");
        assert_eq!(token(&manager).await.access_token(), "t3");
    }
}

#[tokio::test]
async fn inv11_a_rejected_token_that_the_issuer_hands_out_anew_is_used() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = || issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
        let (one, two) = (manager(), manager());
        let (first, also_first) = (token(&one).await, token(&two).await);
        let second = renewed(&one, &first).await.expect("another token");
        assert_eq!(second.access_token(), "t2");
        assert_eq!(renewed(&two, &also_first).await.expect("another token").id(), second.id());
        issuer.repeats.store(true, Ordering::SeqCst);
        second.mark_accepted();
        assert_eq!(renewed(&one, &second).await.expect("another token").id(), first.id());
        let calls = issuer.calls();
        for _ in 0..10 {
            assert_eq!(token(&one).await.id(), first.id());
            // This manager has not seen that the issuer issued the same token again. That costs it one call,
            // not one per use.
            assert_eq!(token(&two).await.id(), first.id());
        }
        assert_eq!(issuer.calls(), calls + 1);
    }
}

#[tokio::test]
async fn inv11_a_renewal_that_was_accepted_counts_when_the_storage_has_fallen_back() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
        let older = issuer.token("older");
        storage.set("key", &issuer.token("rejected")).await.expect("set");
        let rejected = token(&manager).await;
        let second = renewed(&manager, &rejected).await.expect("another token");
        // An API accepts requests with the second token. Then a failover brings back a token that this
        // manager does not know.
        second.mark_accepted();
        storage.set("key", &older).await.expect("set");
        let fallen_back = token(&manager).await;
        assert_eq!(fallen_back.access_token(), "older");
        let third = renewed(&manager, &fallen_back).await.expect("not within a second of the renewal?");
        assert_eq!(third.access_token(), "t2");
        // But no API has accepted this token.
        assert!(renewed(&manager, &third).await.is_none());
        assert_eq!(issuer.calls(), 2);
    }
}

#[tokio::test]
async fn inv11_a_storage_that_falls_back_time_and_again_costs_no_token_call_per_rejection() {
    for storage in storages() {
        let issuer = Issuer::new();
        let manager = issuer.manager().storage(Arc::clone(&storage)).build().expect("a manager");
        token(&manager).await;
        for number in 0..100 {
            let current = token(&manager).await;
            current.mark_accepted();
            renewed(&manager, &current).await;
            storage.set("key", &issuer.token(&format!("older {number}"))).await.expect("set");
        }
        assert!(issuer.calls() <= 11, "{} calls", issuer.calls());
    }
}
