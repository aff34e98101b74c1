//! The conformance suite for every [`TokenStorage`]. Call it in a test of your own storage (feature `test-util`).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};

use crate::{
    CoolDown, CoolDownPolicy, LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, TokenData, TokenStorage,
};

/// Runs the whole suite on a storage. All keys begin with `prefix`; choose one that no other test uses at the same time.
///
/// The suite checks the capabilities that the storage has. Wrapped in an `Arc<dyn …>` the storage must have the same
/// ones.
///
/// # Panics
///
/// The storage breaks a rule. The message names the first broken rule.
pub async fn check<S: TokenStorage + 'static>(storage: S, prefix: &str) {
    let storage: Arc<dyn TokenStorage> = same_capabilities_behind_a_pointer(storage, prefix);
    round_trips(&*storage, &format!("{prefix}round-trip")).await;
    keys_are_apart(&*storage, prefix).await;
    replaces_and_forgets(&*storage, &format!("{prefix}replace")).await;
    announces_changes(&*storage, &format!("{prefix}announce")).await;
    compares_before_deleting(&*storage, &format!("{prefix}compare")).await;
    leases_exclude(&*storage, &format!("{prefix}lease")).await;
    stores_behind_a_fence(&*storage, &format!("{prefix}fence")).await;
    stores_nothing_that_was_invalidated_meanwhile(&*storage, &format!("{prefix}invalidated")).await;
    marks_spent_refresh_tokens(&*storage, &format!("{prefix}spend")).await;
    shares_cool_downs(&*storage, &format!("{prefix}cool-down")).await;
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

/// Tokens with all fields, with only the access token, and with unusual values.
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
            "`get` must return the whole token that was `set`"
        );
        assert!(expect(storage.exists(key).await), "`exists` must be true after `set`");
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
            "each key must have its own token"
        );
    }
    for key in &keys {
        expect(storage.delete(key).await);
        assert_eq!(expect(storage.get(key).await), None);
    }
}

async fn replaces_and_forgets(storage: &dyn TokenStorage, key: &str) {
    assert_eq!(expect(storage.get(key).await), None, "`get` of a key that was never set must be a miss");
    assert!(!expect(storage.exists(key).await));
    expect(storage.delete(key).await);

    expect(storage.set(key, &TokenData::new("one").with_refresh_token("r")).await);
    expect(storage.set(key, &TokenData::new("two")).await);
    assert_eq!(
        expect(storage.get(key).await),
        Some(TokenData::new("two")),
        "`set` must replace the whole token"
    );

    expect(storage.delete(key).await);
    assert_eq!(expect(storage.get(key).await), None, "`get` after `delete` must be a miss");
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
    let set = generation.current();
    assert!(set.is_next_after(before), "`set` must announce one change");
    expect(storage.get(key).await);
    assert_eq!(generation.current(), set, "`get` must announce no change");
    expect(storage.delete(key).await);
    assert!(generation.current().is_next_after(set), "`delete` must announce one change");
    assert_eq!(other.current(), untouched, "a change must not be announced for another key");
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
    assert!(!expect(comparing.delete_if(key, old.id()).await), "`delete_if` must not delete another token");
    assert_eq!(current(), before, "`delete_if` must announce nothing if it deletes nothing");
    assert_eq!(expect(storage.get(key).await), Some(new.clone()));

    assert!(
        expect(comparing.delete_if(key, new.id()).await),
        "`delete_if` must delete the token with this identity"
    );
    let is_next = before.zip(current()).is_none_or(|(before, after)| after.is_next_after(before));
    assert!(is_next, "`delete_if` must announce one change");
    assert_eq!(expect(storage.get(key).await), None);
    let is_deleted_again = expect(comparing.delete_if(key, new.id()).await);
    assert!(!is_deleted_again, "`delete_if` must be false for a token that it has already deleted");
}

async fn leases_exclude(storage: &dyn TokenStorage, key: &str) {
    let Some(leases) = storage.leases() else { return };
    let mut held = leases.lease(key);
    assert_held(&expect(held.acquire(CoolDownPolicy::Respect).await), 0);
    let mut other = leases.lease(&format!("{key}:other"));
    assert_held(&expect(other.acquire(CoolDownPolicy::Respect).await), 0);
    drop(other);

    let mut second = leases.lease(key);
    {
        // The suite has no runtime, and so no time-out. It polls the second acquisition by hand.
        let mut acquiring = second.acquire(CoolDownPolicy::Respect);
        for _ in 0..10 {
            // A context that lives across the `await` below would make this future `!Send`, so each poll gets a new one.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let is_pending = acquiring.as_mut().poll(&mut context).is_pending();
            assert!(is_pending, "`acquire` must wait while another lease holds the key");
        }
        drop(held);
        assert_held(&expect(acquiring.await), 0);
    }
    drop(second);
    let mut third = leases.lease(key);
    assert_held(&expect(third.acquire(CoolDownPolicy::Respect).await), 0);
}

async fn stores_behind_a_fence(storage: &dyn TokenStorage, key: &str) {
    let Some(leases) = storage.leases() else { return };
    let token = |name: &str| TokenData::new(name);
    let (mut holder, mut late) = (leases.lease(key), leases.lease(key));
    assert_held(&expect(holder.acquire(CoolDownPolicy::Respect).await), 0);
    assert!(
        !expect(late.store(&token("late"), None).await),
        "`store` must store nothing while another lease holds the key"
    );
    assert_eq!(expect(storage.get(key).await), None);

    let generation = storage.generation(key);
    let current = || generation.as_ref().map(crate::Generation::current);
    let before = current();
    assert!(expect(holder.store(&token("one"), None).await), "`store` of the holding lease must store");
    assert_eq!(expect(storage.get(key).await), Some(token("one")));
    let is_next = before.zip(current()).is_none_or(|(before, after)| after.is_next_after(before));
    assert!(is_next, "`store` must announce one change");

    let is_stored = expect(late.store(&token("late"), None).await);
    assert!(!is_stored, "`store` without the lease must not replace a token that the caller has not read");
    assert!(!expect(late.store(&token("late"), Some(token("another").id())).await));
    assert_eq!(expect(storage.get(key).await), Some(token("one")));
    let read = Some(token("one").id());
    let is_stored = expect(late.store(&token("two"), read).await);
    assert!(is_stored, "`store` must replace the token that the caller has read, if no lease holds the key");
    assert_eq!(expect(storage.get(key).await), Some(token("two")));

    let mut next = leases.lease(key);
    assert_held(&expect(next.acquire(CoolDownPolicy::Respect).await), 0);
    match next.take_read() {
        LeaseRead::NotReported => {}
        LeaseRead::Missing => panic!("`take_read` must not return `Missing` if there is a token"),
        LeaseRead::Token(seen) => {
            assert_eq!(seen, token("two"), "`take_read` must return the stored token");
        }
    }
    drop(next);
    expect(storage.delete(key).await);
    let is_stored = expect(late.store(&token("three"), None).await);
    assert!(is_stored, "`store` must store if the caller has read no token and there is none");
    expect(storage.delete(key).await);
}

/// `delete` means that no token may be used that was fetched before it, even if it is not stored yet. `delete_if` removes
/// one token (a rejected one, for example) and does not concern a token that is being fetched.
async fn stores_nothing_that_was_invalidated_meanwhile(storage: &dyn TokenStorage, key: &str) {
    let Some(leases) = storage.leases() else { return };
    let (old, new) = (TokenData::new("old"), TokenData::new("new"));
    for present in [None, Some(&old)] {
        if let Some(present) = present {
            expect(storage.set(key, present).await);
        }
        let mut overtaken = leases.lease(key);
        assert_held(&expect(overtaken.acquire(CoolDownPolicy::Respect).await), 0);
        expect(storage.delete(key).await);
        let read = present.map(TokenData::id);
        let is_stored = expect(overtaken.store(&new, read).await);
        assert!(!is_stored, "`store` must store nothing if the key was deleted after `acquire`");
        assert_eq!(expect(storage.get(key).await), None, "`store` must not undo a deletion");
        // `store` has released the lease nevertheless. A lease that is acquired after the deletion may store.
        let mut next = leases.lease(key);
        assert_held(&expect(next.acquire(CoolDownPolicy::Respect).await), 0);
        let is_stored = expect(overtaken.store(&new, None).await);
        assert!(!is_stored, "`store` must also store nothing when it is called again");
        assert!(expect(next.store(&new, None).await), "a lease acquired after the deletion must store");
        assert_eq!(expect(storage.get(key).await), Some(new.clone()));
        expect(storage.delete(key).await);
    }

    // The deletion of another key does not matter.
    let mut held = leases.lease(key);
    assert_held(&expect(held.acquire(CoolDownPolicy::Respect).await), 0);
    expect(storage.delete(&format!("{key}:other")).await);
    assert!(expect(held.store(&new, None).await), "`delete` of another key must not prevent `store`");

    let Some(comparing) = storage.compare_and_delete() else { return };
    expect(storage.set(key, &old).await);
    let mut renewing = leases.lease(key);
    assert_held(&expect(renewing.acquire(CoolDownPolicy::Respect).await), 0);
    assert!(expect(comparing.delete_if(key, old.id()).await));
    assert!(expect(renewing.store(&new, None).await), "`delete_if` must not prevent `store`");
    assert_eq!(expect(storage.get(key).await), Some(new));
    expect(storage.delete(key).await);
}

async fn marks_spent_refresh_tokens(storage: &dyn TokenStorage, key: &str) {
    let Some(leases) = storage.leases() else { return };
    let old = TokenData::new("old").with_refresh_token("refresh");
    expect(storage.set(key, &old).await);

    let mut stranger = leases.lease(key);
    let mark = expect(stranger.mark_refresh_token(old.id(), MarkTakeover::Never).await);
    assert_eq!(
        mark,
        RefreshMark::LeaseLost,
        "`mark_refresh_token` must return `LeaseLost` without the lease"
    );

    let mut holder = leases.lease(key);
    assert_held(&expect(holder.acquire(CoolDownPolicy::Respect).await), 0);
    assert_eq!(expect(holder.mark_refresh_token(old.id(), MarkTakeover::Never).await), RefreshMark::Ours);
    assert_eq!(
        expect(holder.mark_refresh_token(old.id(), MarkTakeover::Never).await),
        RefreshMark::Ours,
        "`mark_refresh_token` must return `Ours` again for the lease's own mark"
    );
    expect(holder.clear_mark(old.id()).await);
    assert_eq!(expect(holder.mark_refresh_token(old.id(), MarkTakeover::Never).await), RefreshMark::Ours);
    assert_eq!(expect(storage.get(key).await), Some(old.clone()), "a mark must not change the token");

    // The holder ends without a response from the token endpoint.
    drop(holder);
    let mut successor = leases.lease(key);
    assert_held(&expect(successor.acquire(CoolDownPolicy::Respect).await), 0);
    let is_foreign = |mark| match mark {
        RefreshMark::Foreign { age } => age.is_none_or(|age| age < Duration::from_secs(60)),
        _ => false,
    };
    let never = expect(successor.mark_refresh_token(old.id(), MarkTakeover::Never).await);
    assert!(is_foreign(never), "`mark_refresh_token` must return `Foreign` for the mark of an earlier lease");
    assert_eq!(expect(successor.mark_refresh_token(old.id(), MarkTakeover::Once).await), RefreshMark::Ours);
    drop(successor);
    let mut holder = leases.lease(key);
    assert_held(&expect(holder.acquire(CoolDownPolicy::Respect).await), 0);
    let again = expect(holder.mark_refresh_token(old.id(), MarkTakeover::Once).await);
    assert!(is_foreign(again), "`MarkTakeover::Once` must not take a mark over twice");
    assert_eq!(expect(holder.mark_refresh_token(old.id(), MarkTakeover::Always).await), RefreshMark::Ours);

    let new = TokenData::new("new").with_refresh_token("refresh 2");
    assert!(expect(holder.store(&new, Some(old.id())).await));
    let mut next = leases.lease(key);
    assert_held(&expect(next.acquire(CoolDownPolicy::Respect).await), 0);
    assert_eq!(
        expect(next.mark_refresh_token(new.id(), MarkTakeover::Never).await),
        RefreshMark::Ours,
        "`store` must remove the mark of the token that it replaces"
    );
    drop(next);
    expect(storage.delete(key).await);
}

async fn shares_cool_downs(storage: &dyn TokenStorage, key: &str) {
    let Some(leases) = storage.leases() else { return };
    let mut failing = leases.lease(key);
    assert_held(&expect(failing.acquire(CoolDownPolicy::Respect).await), 0);
    let begun = CoolDown::new(Duration::from_secs(60), 3).with_status(503);
    expect(failing.fail(&begun).await);

    let mut next = leases.lease(key);
    let LeaseOutcome::CoolingDown(cool_down) = expect(next.acquire(CoolDownPolicy::Respect).await) else {
        panic!("`acquire` must return `CoolingDown` after another lease has called `fail`");
    };
    assert_eq!((cool_down.failures(), cool_down.status()), (3, Some(503)));
    assert!(
        cool_down.left() <= begun.left() && cool_down.left() > begun.left() / 2,
        "{:?}",
        cool_down.left()
    );

    let acquired = expect(next.acquire(CoolDownPolicy::Ignore).await);
    assert_held(&acquired, 3);
    assert!(expect(next.store(&TokenData::new("t"), None).await));
    let mut after = leases.lease(key);
    assert_held(&expect(after.acquire(CoolDownPolicy::Respect).await), 0);
    expect(storage.delete(key).await);
}

fn assert_held(acquired: &LeaseOutcome, failures: u32) {
    assert_eq!(*acquired, LeaseOutcome::Held { failures }, "`acquire` must grant a key that no lease holds");
}

#[expect(clippy::panic, reason = "a conformance check reports by panicking, as any test does")]
fn expect<T>(result: Result<T, crate::StorageError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the storage failed: {error} ({error:?})"),
    }
}
