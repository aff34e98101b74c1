//! The wrapper has every capability of the inner storage, and passes the same conformance suite.

use std::sync::Arc;

use forge_core::{TokenStorage, storage_conformance};
use forge_storage_encrypted::EncryptedTokenStorage;
use forge_storage_memory::InMemoryTokenStorage;

use crate::world::{Bare, key, storage};

fn capabilities(storage: &dyn TokenStorage) -> [bool; 3] {
    [storage.generation("key").is_some(), storage.compare_and_delete().is_some(), storage.leases().is_some()]
}

#[tokio::test]
async fn conforms_over_a_storage_with_all_capabilities() {
    let storage = EncryptedTokenStorage::new(InMemoryTokenStorage::new(), key("k1"));
    assert_eq!(capabilities(&storage), [true; 3]);
    storage_conformance::check(storage, "").await;
}

#[tokio::test]
async fn conforms_over_a_storage_with_none() {
    let storage = EncryptedTokenStorage::new(Bare::default(), key("k1"));
    assert_eq!(capabilities(&storage), [false; 3]);
    storage_conformance::check(storage, "").await;
}

#[tokio::test]
async fn conforms_over_a_storage_of_any_kind_and_over_itself() {
    let any: Arc<dyn TokenStorage> = Arc::new(InMemoryTokenStorage::new());
    let wrapper = storage(&any, "k1", &["k2"]);
    assert_eq!(capabilities(&wrapper), [true; 3]);
    storage_conformance::check(storage(&wrapper, "k3", &[]), "").await;
}

#[test]
fn the_inner_storage_says_which_keys_will_do() {
    let storage = EncryptedTokenStorage::new(Bare::default(), key("k1"));
    assert!(storage.check_key("crm").is_ok());
    assert_eq!(storage.check_key("CRM").expect_err("upper case").field(), "cache_key");
}

#[test]
fn two_keys_with_one_id_are_refused() {
    let build = |reading: &[&str]| {
        let builder = EncryptedTokenStorage::builder(Bare::default(), key("k1"));
        reading.iter().fold(builder, |builder, id| builder.reading_key(key(id))).build()
    };
    assert!(build(&[]).is_ok() && build(&["k2", "k3"]).is_ok());
    for reading in [&["k1"][..], &["k2", "k3", "k2"]] {
        assert_eq!(build(reading).expect_err("one id").field(), "reading_key");
    }
}
