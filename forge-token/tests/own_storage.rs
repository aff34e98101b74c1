//! Managers over a user's own storage of records: with the issue time, and with the documents' six fields
//! only.

#![allow(clippy::expect_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{
    AuthenticationError, Clock, ManualClock, StorageError, TokenData, TokenProvider, TokenStorage,
    async_trait,
};
use forge_token::TokenManager;

/// A table of texts.
#[derive(Debug)]
struct Table {
    records: Mutex<HashMap<String, String>>,
    has_issue_times: bool,
}

#[async_trait]
impl TokenStorage for Table {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        let records = self.records.lock().expect("unpoisoned");
        Ok(records.get(key).and_then(|record| TokenData::from_record(record).ok()))
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        let record = if self.has_issue_times {
            token.to_record()?
        } else {
            let timeless = token.clone().without_times();
            token.expires_at().map_or(timeless.clone(), |at| timeless.with_expires_at(at)).to_record()?
        };
        self.records.lock().expect("unpoisoned").insert(key.to_owned(), record.expose().to_owned());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.records.lock().expect("unpoisoned").remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.records.lock().expect("unpoisoned").contains_key(key))
    }
}

/// Issues tokens with this lifetime.
struct Issuer {
    clock: Arc<ManualClock>,
    lives: Duration,
    calls: AtomicUsize,
}

#[async_trait]
impl TokenProvider for Issuer {
    fn service_name(&self) -> &'static str {
        "issuer"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let now = self.clock.now().wall();
        Ok(TokenData::new(format!("t{number}")).with_issued_at(now).with_expires_at(now + self.lives))
    }
}

/// Whether a process that has just started uses the stored token, if this much of its lifetime is left.
async fn is_adopted(has_issue_times: bool, lives: u64, left: u64) -> bool {
    let clock = Arc::new(ManualClock::new());
    let lives = Duration::from_secs(lives);
    let issuer = Arc::new(Issuer { clock: Arc::clone(&clock), lives, calls: AtomicUsize::new(0) });
    let table = Arc::new(Table { records: Mutex::default(), has_issue_times });
    let process = || {
        let builder = TokenManager::builder(Arc::clone(&issuer)).storage(Arc::clone(&table));
        builder.clock(Arc::clone(&clock) as _).build().expect("a manager")
    };
    let first = process();
    let fetched = first.get_token().await.expect("a token");
    // The manager that has fetched the token knows the time of the fetch.
    clock.advance((lives / 2).saturating_sub(Duration::from_secs(1)).min(Duration::from_secs(20)));
    assert_eq!(first.get_token().await.expect("a token").id(), fetched.id());
    assert_eq!(issuer.calls.load(Ordering::SeqCst), 1);

    let left = Duration::from_secs(left);
    let so_far = clock.now().wall();
    let wanted = fetched.expires_at().expect("an expiry") - left;
    clock.advance(wanted.signed_duration_since(so_far).to_std().expect("a time to come"));
    process().get_token().await.expect("a token").id() == fetched.id()
}

#[tokio::test]
async fn inv10_without_an_issue_time_the_margin_before_the_expiry_stays_whole() {
    for (lives, left, expected) in
        [(3_600, 31, true), (3_600, 30, false), (3_600, 10, false), (3_600, 1, false), (20, 11, false)]
    {
        assert_eq!(is_adopted(false, lives, left).await, expected, "{left} of {lives} s are left");
    }
}

#[tokio::test]
async fn inv10_with_it_the_margin_is_at_most_half_the_lifetime() {
    for (lives, left, expected) in [
        (3_600, 31, true),
        (3_600, 30, false),
        (20, 11, true),
        (20, 10, false),
        (50, 26, true),
        (50, 25, false),
    ] {
        assert_eq!(is_adopted(true, lives, left).await, expected, "{left} of {lives} s are left");
    }
}
