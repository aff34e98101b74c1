//! The inner storage gets no token, and no output shows a token or a key (invariant 16).

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{SubsecRound, Utc};
use requestforge::storage::{
    CompareAndDelete, CoolDown, CoolDownPolicy, Generation, LeaseOutcome, MarkTakeover, RefreshMark, TokenId,
    TokenLease, TokenLeases,
};
use requestforge::{
    EncryptedTokenStorage, EncryptionKey, InMemoryTokenStorage, StorageError, TokenData, TokenManager,
    TokenStorage, async_trait,
};
use serde_json::json;

use crate::canaries::{Canaries, Canary, debug};
use crate::logs;
use crate::world::{KEY, NumberedIssuer};

/// A token with a canary in each part that a server fills.
pub(crate) fn token(canaries: &mut Canaries) -> TokenData {
    let mut made = |name| {
        let canary = Canary::token(name);
        let text = canary.to_string();
        canaries.add(canary);
        text
    };
    let extra = json!({
        "id_token": made("id token"),
        "nested": [{ made("extra name"): made("extra") }],
        "refresh_expires_in": made("text in the place of a number"),
        "refresh_token_expires_in": 7_200,
    });
    // No storage keeps more than microseconds.
    let now = Utc::now().trunc_subsecs(3);
    TokenData::new(made("access token"))
        .with_refresh_token(made("refresh token"))
        .with_token_type(made("token type"))
        .with_scope(made("scope"))
        .with_extra(extra.as_object().expect("an object").clone())
        .with_issued_at(now)
        .with_expires_at(now + Duration::from_secs(3_600))
}

/// Looks for the canaries in a dump of a server's data, also inside base64.
pub(crate) fn look_into(canaries: &mut Canaries, what: &str, dump: &[u8]) {
    canaries.look_at(what, dump);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
    for word in dump.split(|byte| !is_base64(byte)).filter(|word| word.len() > 16) {
        if let Ok(decoded) = URL_SAFE_NO_PAD.decode(word) {
            canaries.look_at(&format!("{what}, decoded"), decoded);
        }
    }
}

/// Writes and reads a token in all possible ways.
pub(crate) async fn use_it(storage: &EncryptedTokenStorage, token: &TokenData) {
    storage.set(KEY, token).await.expect("it is stored");
    assert_eq!(storage.get(KEY).await.expect("an answer").as_ref(), Some(token));
    let leases = storage.leases().expect("leases");
    let mut lease = leases.lease(KEY);
    assert!(matches!(
        lease.acquire(CoolDownPolicy::Respect).await.expect("an answer"),
        LeaseOutcome::Held { .. }
    ));
    assert_eq!(
        lease.mark_refresh_token(token.id(), MarkTakeover::Never).await.expect("an answer"),
        RefreshMark::Ours
    );
    lease.clear_mark(token.id()).await.expect("an answer");
    assert!(lease.store(token, None).await.expect("an answer"));
    assert!(lease.store(token, Some(token.id())).await.expect("an answer"), "nobody holds it");
    assert!(!lease.store(token, None).await.expect("an answer"), "there is a token");
    let comparing = storage.compare_and_delete().expect("it can");
    assert!(comparing.delete_if(KEY, token.id()).await.expect("an answer"));
    storage.set(KEY, token).await.expect("it is stored");
}

#[tokio::test]
async fn inv16_the_inner_storage_gets_nothing_in_the_clear() {
    logs::keep();
    let mut canaries = Canaries::new([]);
    let token = token(&mut canaries);
    let spy = Spy::default();
    let text = format!("K{:0>31}", std::process::id());
    canaries.add(Canary::of("encryption key", &text));
    let key = EncryptionKey::from_bytes("k1", text.as_bytes()).expect("a key");
    let storage = EncryptedTokenStorage::new(spy.clone(), key.clone());
    use_it(&storage, &token).await;
    let heard = spy.heard.lock().expect("unpoisoned").clone();
    assert!(heard.matches("sealed1.k1.").count() >= 4, "{heard}");
    look_into(&mut canaries, "the inner storage", heard.as_bytes());

    // The log tells of a strange record, and does not show it.
    let another = EncryptedTokenStorage::new(spy.clone(), key_of(9));
    for record in [token.clone(), TokenData::new(format!("sealed1.k1.{}", token.access_token()))] {
        spy.inner.set(KEY, &record).await.expect("it is stored");
        for storage in [&storage, &another] {
            canaries.look_at_debug("a miss", &storage.get(KEY).await);
        }
    }
    assert!(
        logs::times(|line| line.level == "WARN" && line.target.starts_with("forge_storage_encrypted")) >= 4
    );

    canaries.look_at_debug("EncryptionKey", &key);
    canaries.look_at_debug("EncryptedTokenStorage", &storage);
    let builder = EncryptedTokenStorage::builder(InMemoryTokenStorage::new(), key.clone());
    let builder = builder.reading_key(key.clone());
    canaries.look_at_debug("EncryptedTokenStorageBuilder", &builder);
    canaries.look_at_error("two keys with one id", &builder.build().expect_err("one id"));
    for error in [
        EncryptionKey::from_bytes(text.as_str(), &[0; 31]).err(),
        EncryptionKey::from_bytes(format!("{text}."), text.as_bytes()).err(),
        EncryptionKey::from_bytes("k1", format!("{text}{text}").as_bytes()).err(),
        EncryptionKey::from_base64("k1", text.as_str()).err(),
        EncryptionKey::from_base64("k1", format!("{text}!")).err(),
    ] {
        canaries.look_at_error("no key", &error.expect("it is none"));
    }
    let manager = TokenManager::builder(Arc::new(NumberedIssuer::default())).storage(storage).cache_key(KEY);
    canaries.look_at_debug("manager", &manager.build().expect("a manager"));
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

/// This test proves that the search finds what it should find.
#[tokio::test]
#[should_panic(expected = "secrets were shown")]
async fn inv16_without_encryption_the_search_finds_the_token() {
    let mut canaries = Canaries::new([]);
    let token = token(&mut canaries);
    let spy = Spy::default();
    spy.set(KEY, &token).await.expect("it is stored");
    let heard = spy.heard.lock().expect("unpoisoned").clone();
    look_into(&mut canaries, "the inner storage", heard.as_bytes());
    canaries.end();
}

#[test]
fn the_search_looks_into_base64() {
    let canary = Canary::token("within");
    let dump = format!("sealed1.k1.{}", URL_SAFE_NO_PAD.encode(format!("{{\"a\":\"{canary}\"}}")));
    let mut canaries = Canaries::new([canary]);
    look_into(&mut canaries, "dump", dump.as_bytes());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| canaries.end())).is_err());
}

fn key_of(byte: u8) -> EncryptionKey {
    EncryptionKey::from_bytes("k1", &[byte; EncryptionKey::LENGTH]).expect("a key")
}

/// Tokens in memory, and a record of all data that the storage got.
#[derive(Clone, Debug, Default)]
struct Spy {
    inner: InMemoryTokenStorage,
    heard: Arc<Mutex<String>>,
}

impl Spy {
    fn hear_token(&self, token: &TokenData) {
        let fields = (token.access_token(), token.token_type(), token.refresh_token(), token.scope());
        let extra = serde_json::to_string(token.extra()).expect("JSON");
        self.hear(&format!("{fields:?} {extra} {:?} {:?}", token.issued_at(), token.expires_at()));
    }

    fn hear_id(&self, id: Option<TokenId>) {
        self.hear(&format!("{:?}", id.map(|id| *id.as_bytes())));
    }

    fn hear(&self, what: &str) {
        let mut heard = self.heard.lock().expect("unpoisoned");
        writeln!(heard, "{what}{}", debug(&self.inner)).expect("a text");
    }
}

#[async_trait]
impl TokenStorage for Spy {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        self.hear(key);
        self.inner.get(key).await
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.hear_token(token);
        self.inner.set(key, token).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        self.inner.exists(key).await
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        self.inner.generation(key)
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        Some(self)
    }
}

#[async_trait]
impl CompareAndDelete for Spy {
    async fn delete_if(&self, key: &str, id: TokenId) -> Result<bool, StorageError> {
        self.hear_id(Some(id));
        self.inner.delete_if(key, id).await
    }
}

impl TokenLeases for Spy {
    fn lease(&self, key: &str) -> Box<dyn TokenLease> {
        Box::new(Overheard { spy: self.clone(), lease: TokenLeases::lease(&self.inner, key) })
    }
}

struct Overheard {
    spy: Spy,
    lease: Box<dyn TokenLease>,
}

#[async_trait]
impl TokenLease for Overheard {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        self.lease.acquire(policy).await
    }

    async fn mark_refresh_token(
        &mut self,
        id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        self.spy.hear_id(Some(id));
        self.lease.mark_refresh_token(id, takeover).await
    }

    async fn clear_mark(&mut self, id: TokenId) -> Result<(), StorageError> {
        self.spy.hear_id(Some(id));
        self.lease.clear_mark(id).await
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        self.spy.hear_token(token);
        self.spy.hear_id(read);
        self.lease.store(token, read).await
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        self.lease.fail(cool_down).await
    }
}
