//! All comparisons are of tokens, even if the inner storage compares records.

use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{
    CoolDownPolicy, LeaseOutcome, StorageError, TokenData, TokenId, TokenLease, TokenLeases, TokenStorage,
};
use forge_storage_encrypted::EncryptedTokenStorage;

use crate::racing::RacingStorage;
use crate::world::{get, set, storage};

/// Two processes in the middle of a key rotation, over one storage.
struct World {
    inner: RacingStorage,
    ours: EncryptedTokenStorage,
    theirs: EncryptedTokenStorage,
}

fn world() -> World {
    let inner = RacingStorage::new();
    let (ours, theirs) = (storage(&inner, "k1", &["k2"]), storage(&inner, "k2", &["k1"]));
    World { inner, ours, theirs }
}

impl World {
    /// Lets the other process store this token before the next step that compares.
    fn they_set(&self, token: &TokenData) {
        let (theirs, token) = (self.theirs.clone(), token.clone());
        self.inner.then(async move { set(&theirs, "crm", &token).await });
    }

    /// Lets the other process discard the token as a rejected one. A deletion would also affect the token
    /// under way.
    async fn they_take_it_away(&self) {
        if let Some(present) = get(&self.theirs, "crm").await {
            let comparing = self.theirs.compare_and_delete().expect("it can");
            assert!(comparing.delete_if("crm", present.id()).await.expect("an answer"));
        }
    }

    fn nothing_happens(&self) {
        self.inner.then(async {});
    }

    async fn delete_if(&self, id: TokenId) -> Result<bool, StorageError> {
        self.ours.compare_and_delete().expect("it can").delete_if("crm", id).await
    }
}

fn token(name: &str) -> TokenData {
    TokenData::new(name)
}

fn lease(storage: &EncryptedTokenStorage) -> Box<dyn TokenLease> {
    TokenLeases::lease(storage, "crm")
}

async fn held(storage: &EncryptedTokenStorage) -> Box<dyn TokenLease> {
    let mut lease = lease(storage);
    assert_eq!(
        lease.acquire(CoolDownPolicy::Respect).await.expect("an answer"),
        LeaseOutcome::Held { failures: 0 }
    );
    lease
}

async fn stores(lease: &mut Box<dyn TokenLease>, token: &TokenData, read: Option<TokenId>) -> bool {
    lease.store(token, read).await.expect("an answer")
}

#[tokio::test]
async fn inv11_a_token_that_was_encrypted_once_more_is_deleted_by_its_identity() {
    let world = world();
    set(&world.theirs, "crm", &token("t")).await;
    assert!(!world.delete_if(token("other").id()).await.expect("an answer"));
    assert!(get(&world.ours, "crm").await.is_some());
    for _ in 0..3 {
        world.they_set(&token("t"));
    }
    assert!(world.delete_if(token("t").id()).await.expect("an answer"));
    assert_eq!(get(&world.inner, "crm").await, None);
}

#[tokio::test]
async fn inv11_a_token_that_came_meanwhile_is_not_deleted() {
    let world = world();
    set(&world.ours, "crm", &token("old")).await;
    world.they_set(&token("new"));
    assert!(!world.delete_if(token("old").id()).await.expect("an answer"));
    assert_eq!(get(&world.ours, "crm").await, Some(token("new")));
}

#[tokio::test]
async fn comparing_ends_also_where_the_record_always_changes() {
    let world = world();
    set(&world.ours, "crm", &token("t")).await;
    for _ in 0..1_000 {
        world.they_set(&token("t"));
    }
    world.delete_if(token("t").id()).await.expect_err("it cannot say");
    let mut late = lease(&world.ours);
    assert!(!stores(&mut late, &token("new"), Some(token("t").id())).await);
}

#[tokio::test]
async fn inv04_who_holds_the_lease_stores_whatever_is_there() {
    let world = world();
    for read in [None, Some(token("read").id())] {
        let mut lease = held(&world.ours).await;
        world.they_set(&token("theirs"));
        let reads = world.inner.reads.load(Ordering::SeqCst);
        assert!(stores(&mut lease, &token("ours"), read).await);
        assert_eq!(world.inner.reads.load(Ordering::SeqCst), reads, "and asks for nothing");
        assert_eq!(get(&world.theirs, "crm").await, Some(token("ours")));
    }
}

#[tokio::test]
async fn inv04_while_another_holds_the_lease_nothing_is_stored() {
    let world = world();
    set(&world.ours, "crm", &token("read")).await;
    let holder = held(&world.theirs).await;
    let mut late = lease(&world.ours);
    assert!(!stores(&mut late, &token("late"), Some(token("read").id())).await);
    assert!(!stores(&mut late, &token("late"), None).await);
    drop(holder);
    assert!(stores(&mut late, &token("late"), Some(token("read").id())).await);
}

#[tokio::test]
async fn inv04_who_has_lost_the_lease_replaces_what_was_read_and_nothing_else() {
    for read in [None, Some(token("read").id())] {
        for present in [None, Some("read"), Some("newer")] {
            let world = world();
            let mut lost = held(&world.ours).await;
            // A store ends the lease, so the second store comes from a holder who only believes that it has
            // one.
            assert!(stores(&mut lost, &token("first"), None).await);
            world.they_take_it_away().await;
            if let Some(present) = present {
                set(&world.theirs, "crm", &token(present)).await;
            }
            let is_what_was_read = present.map(|name| token(name).id()) == read;
            assert_eq!(stores(&mut lost, &token("late"), read).await, is_what_was_read, "{present:?}");
            let left = if is_what_was_read { Some("late") } else { present };
            assert_eq!(get(&world.ours, "crm").await, left.map(token));
        }
    }
}

#[tokio::test]
async fn inv04_a_lease_that_ran_out_unnoticed_replaces_what_was_read_and_nothing_else() {
    for present in [None, Some("read"), Some("newer")] {
        let world = world();
        set(&world.ours, "crm", &token("read")).await;
        let mut lease = held(&world.ours).await;
        world.inner.clock.advance(Duration::from_secs(120));
        drop(held(&world.theirs).await);
        world.they_take_it_away().await;
        if let Some(present) = present {
            set(&world.theirs, "crm", &token(present)).await;
        }
        let is_stored = stores(&mut lease, &token("late"), Some(token("read").id())).await;
        assert_eq!(is_stored, present == Some("read"));
        let left = if is_stored { Some("late") } else { present };
        assert_eq!(get(&world.ours, "crm").await, left.map(token));
    }
}

#[tokio::test]
async fn inv04_what_was_deleted_while_it_was_fetched_is_not_stored() {
    for present in [None, Some("old")] {
        for is_back in [false, true] {
            let world = world();
            if let Some(present) = present {
                set(&world.theirs, "crm", &token(present)).await;
            }
            let mut lease = held(&world.ours).await;
            world.theirs.delete("crm").await.expect("it is deleted");
            let left = present.filter(|_| is_back).map(token);
            if let Some(token) = &left {
                set(&world.theirs, "crm", token).await;
            }
            let read = present.map(|name| token(name).id());
            assert!(!stores(&mut lease, &token("late"), read).await, "{present:?}");
            assert_eq!(get(&world.ours, "crm").await, left);
        }
    }
}

#[tokio::test]
async fn inv04_the_same_token_encrypted_once_more_still_is_what_was_read() {
    let world = world();
    set(&world.ours, "crm", &token("read")).await;
    let mut late = lease(&world.ours);
    world.they_set(&token("read"));
    world.they_set(&token("read"));
    assert!(stores(&mut late, &token("late"), Some(token("read").id())).await);
    assert_eq!(get(&world.theirs, "crm").await, Some(token("late")));

    world.they_set(&token("newer"));
    world.nothing_happens();
    assert!(!stores(&mut late, &token("too late"), Some(token("late").id())).await);
    assert_eq!(get(&world.theirs, "crm").await, Some(token("newer")));
}

#[tokio::test]
async fn inv20_a_record_that_cannot_be_decrypted_is_replaced_by_who_has_read_no_token() {
    let world = world();
    let strange = token("sealed1.k9.AAAA");
    set(&world.inner, "crm", &strange).await;
    let mut late = lease(&world.ours);
    for read in [token("other").id(), strange.id()] {
        assert!(!stores(&mut late, &token("late"), Some(read)).await, "it is no token that anybody read");
    }
    assert!(stores(&mut late, &token("late"), None).await);
    assert_eq!(get(&world.ours, "crm").await, Some(token("late")));

    // The store fails if another process has stored a token meanwhile.
    set(&world.inner, "crm", &strange).await;
    world.they_set(&token("newer"));
    assert!(!stores(&mut late, &token("too late"), None).await);
    assert_eq!(get(&world.ours, "crm").await, Some(token("newer")));
}
