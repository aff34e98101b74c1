//! Managers without encryption, over a storage that others encrypt.

use std::sync::Arc;

use requestforge::{InMemoryTokenStorage, TokenData, TokenManager, TokenStorage};

use crate::logs;
use crate::world::{Bare, NumberedIssuer, encrypted};

fn manager(storage: Arc<dyn TokenStorage>, key: &str, provider: &Arc<NumberedIssuer>) -> TokenManager {
    let builder = TokenManager::builder(Arc::clone(provider)).storage(storage);
    builder.cache_key(key).build().expect("a manager")
}

fn warnings(key: &str) -> usize {
    let named = format!("key={key} ");
    logs::times(|line| line.level == "WARN" && line.text.contains("encrypted") && line.text.contains(&named))
}

#[tokio::test]
async fn inv20_an_encrypted_record_is_a_miss_to_who_does_not_encrypt_and_is_told_once() {
    logs::keep();
    let storages: [(&str, Arc<dyn TokenStorage>); 2] =
        [("announced", Arc::new(InMemoryTokenStorage::new())), ("unannounced", Arc::new(Bare::default()))];
    for (name, storage) in storages {
        let key = format!("plain-{name}");
        // A manager that refreshed this token would send the sealed text.
        let theirs = TokenData::new("theirs").with_refresh_token("their refresh token");
        let encrypting = encrypted(Arc::clone(&storage), &["k1"]);
        let provider = Arc::<NumberedIssuer>::default();
        let plain = manager(Arc::clone(&storage), &key, &provider);
        for round in 1..=3 {
            encrypting.set(&key, &theirs).await.expect("an answer");
            let record = storage.get(&key).await.expect("an answer").expect("a record");
            assert!(plain.as_dependency().find_token().await.is_none(), "{name}: a miss");
            let token = plain.get_token().await.expect("a token");
            assert_eq!(token.access_token(), format!("token-{round}"), "{name}");
            assert_eq!(plain.get_token().await.expect("a token").id(), token.id(), "{name}: a hit");
            let stored = storage.get(&key).await.expect("an answer").expect("a token");
            assert_eq!(stored.id(), token.id(), "{name}: as any miss it is replaced");
            assert_eq!(warnings(&key), 1, "{name}");
            for line in logs::lines() {
                assert!(!line.text.contains(record.access_token()), "{line:?}");
            }
        }
        // A manager that encrypts goes on reading its own tokens.
        encrypting.set(&key, &theirs).await.expect("an answer");
        let reading = manager(Arc::new(encrypting), &key, &provider);
        assert_eq!(reading.get_token().await.expect("a token").access_token(), "theirs");
        assert_eq!(provider.fetches(), 3, "{name}");
    }
}
