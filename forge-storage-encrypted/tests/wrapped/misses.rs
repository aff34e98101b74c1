//! A record that cannot be decrypted is a miss. The storage reports it once, without its content, and the next token
//! replaces it.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

use forge_core::{TokenData, TokenLeases, TokenStorage};
use forge_storage_memory::InMemoryTokenStorage;
use serde_json::json;

use crate::world::{get, set, storage};

/// A text in each token whose record cannot be decrypted.
const CANARY: &str = "canary8c1f5e";

/// Records that cannot be decrypted, each made from a real token.
async fn strange_records() -> Vec<(&'static str, TokenData)> {
    let elsewhere = InMemoryTokenStorage::new();
    let sealed_by = async |writing: &str, key: &str| {
        let token = TokenData::new(CANARY).with_scope(CANARY);
        set(&storage(&elsewhere, writing, &[]), key, &token).await;
        get(&elsewhere, key).await.expect("a record").access_token().to_owned()
    };
    let sealed = sealed_by("k1", "key").await;
    let flipped = |at: usize| {
        let mut bytes = sealed.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("text")
    };
    let (start, end) = (sealed.find(".k1.").expect("an id") + 4, sealed.len());
    let texts = [
        ("moved from another key", sealed_by("k1", "another").await),
        ("another key's id", sealed.replacen(".k1.", ".k2.", 1)),
        ("an unknown id", sealed_by("k9", "key").await),
        ("no id", sealed.replacen(".k1.", "..", 1)),
        ("cut short", sealed[..end - 1].to_owned()),
        ("nothing but the id", sealed[..start].to_owned()),
        ("another nonce", flipped(start + 3)),
        ("another ciphertext", flipped(start + 40)),
        ("another tag", flipped(end - 5)),
        ("of the next version", sealed.replacen("sealed1", "sealed2", 1)),
        ("not encrypted", CANARY.to_owned()),
        ("a JWT", format!("eyJ.{CANARY}.sig")),
        ("a token that only looks like one", format!("sealed1.k1.{CANARY}")),
        ("nothing", String::new()),
    ];
    let extra = json!({ "id_token": CANARY }).as_object().cloned().unwrap_or_default();
    let record = |text: String| TokenData::new(text).with_scope(CANARY).with_extra(extra.clone());
    texts.map(|(name, text)| (name, record(text).with_refresh_token(CANARY))).into()
}

#[tokio::test]
async fn inv20_what_cannot_be_decrypted_is_a_miss_that_is_told_once_and_healed() {
    keep_log();
    let inner = InMemoryTokenStorage::new();
    let storage = storage(&inner, "k1", &["k2"]);
    let comparing = storage.compare_and_delete().expect("it can");
    let mut told = 0;
    for (name, record) in strange_records().await {
        set(&inner, "key", &record).await;
        for _ in 0..3 {
            assert_eq!(get(&storage, "key").await, None, "{name}");
            assert!(!storage.exists("key").await.expect(name), "{name}");
            for id in [record.id(), TokenData::new(CANARY).id()] {
                assert!(!comparing.delete_if("key", id).await.expect(name), "{name}");
            }
        }
        assert!(get(&inner, "key").await.is_some(), "{name}: others may know what it is");
        told += 1;
        assert_eq!(warnings(), told, "{name}");

        let healed = TokenData::new("healed");
        let mut lease = TokenLeases::lease(&storage, "key");
        assert!(lease.store(&healed, None).await.expect(name), "{name}");
        assert_eq!(get(&storage, "key").await, Some(healed), "{name}");
        assert_eq!(warnings(), told, "{name}");
    }
    assert!(!log().contains(CANARY), "{}", log());
}

#[tokio::test]
async fn a_record_that_was_moved_is_told_where_it_is_now() {
    keep_log();
    let inner = InMemoryTokenStorage::new();
    let storage = storage(&inner, "k1", &[]);
    let told = |key: &str| log().matches(&format!("key=\"{key}\"")).count();
    set(&storage, "moved-from", &TokenData::new("t")).await;
    let record = get(&inner, "moved-from").await.expect("a record");
    for key in ["moved-to-one", "moved-to-another"] {
        set(&inner, key, &record).await;
        assert_eq!(get(&storage, key).await, None);
        assert_eq!(get(&storage, key).await, None);
        assert_eq!(told(key), 1, "{}", log());
    }
    assert_eq!(get(&storage, "moved-from").await, Some(TokenData::new("t")));
    assert_eq!(told("moved-from"), 0);
}

/// The number of warnings about the key of the first test.
fn warnings() -> usize {
    log().lines().filter(|line| line.contains("WARN") && line.contains("key=\"key\"")).count()
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn log() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// From now on the test keeps all log lines of all threads of this process.
fn keep_log() {
    static KEPT: LazyLock<()> = LazyLock::new(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).finish();
        tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
    });
    *KEPT;
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
