//! What every [`TokenStorage`] must do, as a test to call with a storage of your own (feature
//! `test-util`).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};

use crate::{TokenData, TokenStorage};

/// Runs the whole suite on a storage. Keys start with `prefix`; choose one that nobody else uses at
/// the same time.
///
/// Capabilities are checked where the storage has them, and wrapped in an `Arc<dyn …>` it must still
/// have the same ones.
///
/// # Panics
///
/// At the first promise that the storage does not keep.
pub async fn check<S: TokenStorage + 'static>(storage: S, prefix: &str) {
    let storage: Arc<dyn TokenStorage> = same_capabilities_behind_a_pointer(storage, prefix);
    round_trips(&*storage, &format!("{prefix}round-trip")).await;
    keys_are_apart(&*storage, prefix).await;
    replaces_and_forgets(&*storage, &format!("{prefix}replace")).await;
    announces_changes(&*storage, &format!("{prefix}announce")).await;
    compares_before_deleting(&*storage, &format!("{prefix}compare")).await;
    leases_exclude(&storage, &format!("{prefix}lease")).await;
}

fn same_capabilities_behind_a_pointer<S: TokenStorage + 'static>(
    storage: S,
    prefix: &str,
) -> Arc<dyn TokenStorage> {
    let capabilities = |storage: &dyn TokenStorage| {
        [
            storage.generation(prefix).is_some(),
            storage.compare_and_delete().is_some(),
            storage.leases().is_some(),
        ]
    };
    let direct = capabilities(&storage);
    let shared: Arc<dyn TokenStorage> = Arc::new(storage);
    assert_eq!(capabilities(&Arc::clone(&shared)), direct, "a wrapper must forward every capability");
    shared
}

/// Tokens with every field present, with none but the token, and with odd values.
#[must_use]
pub fn sample_tokens() -> Vec<TokenData> {
    let in_an_hour = (Utc::now() + Duration::from_secs(3600)).trunc_subsecs(6);
    let extra = |value: Value| value.as_object().cloned().unwrap_or_default();
    vec![
        TokenData::new("plain"),
        TokenData::new("expiring").with_expires_at(in_an_hour),
        TokenData::new("full")
            .with_token_type("Custom")
            .with_expires_at(in_an_hour)
            .with_refresh_token("refresh")
            .with_scope("read write")
            .with_extra(extra(json!({"tenant": 7, "nested": {"list": [1, null, "é"]}}))),
        TokenData::new("far")
            .with_expires_at(DateTime::from_timestamp(250_000_000_000, 0).unwrap_or(in_an_hour)),
        TokenData::new(format!("long {}", "x".repeat(16 * 1024))),
        TokenData::new("quotes \" and \\ and {braces}").with_scope("π ☃"),
    ]
}

async fn round_trips(storage: &dyn TokenStorage, key: &str) {
    for token in sample_tokens() {
        expect(storage.set(key, &token).await);
        assert_eq!(
            expect(storage.get(key).await).as_ref(),
            Some(&token),
            "what was set must be read back whole"
        );
        assert!(expect(storage.exists(key).await), "what was set must exist");
    }
    expect(storage.delete(key).await);
}

async fn keys_are_apart(storage: &dyn TokenStorage, prefix: &str) {
    let keys = ["", "a", "a:b", "A", "a b", "ü", "*", "a?"].map(|suffix| format!("{prefix}key:{suffix}"));
    for key in &keys {
        expect(storage.set(key, &TokenData::new(key.as_str())).await);
    }
    for key in &keys {
        let token = expect(storage.get(key).await);
        assert_eq!(
            token.as_ref().map(TokenData::access_token),
            Some(key.as_str()),
            "each key has its own token"
        );
    }
    for key in &keys {
        expect(storage.delete(key).await);
        assert_eq!(expect(storage.get(key).await), None);
    }
}

async fn replaces_and_forgets(storage: &dyn TokenStorage, key: &str) {
    assert_eq!(expect(storage.get(key).await), None, "a key that was never set is a miss");
    assert!(!expect(storage.exists(key).await));
    expect(storage.delete(key).await);

    expect(storage.set(key, &TokenData::new("one").with_refresh_token("r")).await);
    expect(storage.set(key, &TokenData::new("two")).await);
    assert_eq!(
        expect(storage.get(key).await),
        Some(TokenData::new("two")),
        "set must replace the whole token"
    );

    expect(storage.delete(key).await);
    assert_eq!(expect(storage.get(key).await), None, "a deleted token must be gone");
    assert!(!expect(storage.exists(key).await));
}

async fn announces_changes(storage: &dyn TokenStorage, key: &str) {
    let (Some(generation), Some(other)) =
        (storage.generation(key), storage.generation(&format!("{key}:other")))
    else {
        return;
    };
    let untouched = other.current();
    let before = generation.current();
    expect(storage.set(key, &TokenData::new("one")).await);
    assert_eq!(generation.current(), before + 1, "set must announce one change");
    expect(storage.get(key).await);
    assert_eq!(generation.current(), before + 1, "get is no change");
    expect(storage.delete(key).await);
    assert_eq!(generation.current(), before + 2, "delete must announce one change");
    assert_eq!(other.current(), untouched, "a change concerns its own key only");
}

async fn compares_before_deleting(storage: &dyn TokenStorage, key: &str) {
    let Some(comparing) = storage.compare_and_delete() else {
        return;
    };
    let (old, new) = (TokenData::new("old"), TokenData::new("new"));
    expect(storage.set(key, &new).await);

    let generation = storage.generation(key);
    let current = || generation.as_ref().map(crate::Generation::current);
    let before = current();
    assert!(!expect(comparing.delete_if(key, old.id()).await), "another token must stay");
    assert_eq!(current(), before, "nothing was deleted, nothing is announced");
    assert_eq!(expect(storage.get(key).await), Some(new.clone()));

    assert!(expect(comparing.delete_if(key, new.id()).await), "the token named must go");
    assert_eq!(current(), before.map(|count| count + 1), "the deletion is announced once");
    assert_eq!(expect(storage.get(key).await), None);
    assert!(!expect(comparing.delete_if(key, new.id()).await), "and only once");
}

async fn leases_exclude(storage: &Arc<dyn TokenStorage>, key: &str) {
    let Some(leases) = storage.leases() else { return };
    let held = expect(leases.acquire(key).await);
    let other = expect(leases.acquire(&format!("{key}:other")).await);
    drop(other);

    // No runtime here to time out with: the second acquisition is polled by hand.
    let mut second = leases.acquire(key);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10 {
        assert!(
            second.as_mut().poll(&mut context).is_pending(),
            "a lease that is held must not be given again"
        );
    }
    drop(held);
    let second = expect(second.await);
    drop(second);
    drop(expect(leases.acquire(key).await));
}

#[expect(clippy::panic, reason = "a conformance check reports by panicking, as any test does")]
fn expect<T>(result: Result<T, crate::StorageError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the storage failed: {error} ({error:?})"),
    }
}
