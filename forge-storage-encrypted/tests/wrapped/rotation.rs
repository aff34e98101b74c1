//! Processes change from one key to another, and the storage flushes nothing.

use forge_core::{TokenData, TokenStorage};
use forge_storage_memory::InMemoryTokenStorage;

use crate::world::{get, set, storage};

#[tokio::test]
async fn inv20_records_of_the_old_key_are_read_and_those_of_no_key_are_missed() {
    let inner = InMemoryTokenStorage::new();
    let old = storage(&inner, "k1", &[]);
    let prepared = storage(&inner, "k1", &["k2"]);
    let rotated = storage(&inner, "k2", &["k1"]);
    let new = storage(&inner, "k2", &[]);

    let (first, second) = (TokenData::new("first").with_refresh_token("r"), TokenData::new("second"));
    set(&old, "crm", &first).await;
    for reader in [&old, &prepared, &rotated] {
        assert_eq!(get(reader, "crm").await.as_ref(), Some(&first));
    }
    assert_eq!(get(&new, "crm").await, None);
    assert!(!new.exists("crm").await.expect("an answer"));

    set(&rotated, "crm", &second).await;
    for reader in [&prepared, &rotated, &new] {
        assert_eq!(get(reader, "crm").await.as_ref(), Some(&second));
    }
    assert_eq!(get(&old, "crm").await, None);
}

#[tokio::test]
async fn reading_writes_nothing() {
    let inner = InMemoryTokenStorage::new();
    set(&storage(&inner, "k1", &[]), "crm", &TokenData::new("t")).await;
    let record = get(&inner, "crm").await;
    let generation = inner.generation("crm").expect("announcements");
    let before = generation.current();
    let rotated = storage(&inner, "k2", &["k1"]);
    assert!(get(&rotated, "crm").await.is_some());
    assert_eq!(get(&inner, "crm").await, record);
    assert_eq!(generation.current(), before);
}
