//! Tokens whose record a storage could store, but not read back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_tests::RedisServer;
use requestforge::storage::CoolDownPolicy;
use requestforge::{
    AuthenticationError, InMemoryTokenStorage, RedisTokenStorage, TokenData, TokenManager, TokenProvider,
    TokenStorage, async_trait,
};
use serde_json::{Value, json};

use crate::logs;
use crate::world::{Bare, encrypted};

const PROCESSES: usize = 2;
const USES: usize = 20;

/// Fetches tokens that differ in their numbers.
struct Fetching {
    calls: AtomicUsize,
    service: String,
    token: fn() -> TokenData,
}

#[async_trait]
impl TokenProvider for Fetching {
    fn service_name(&self) -> &str {
        &self.service
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let token = (self.token)();
        let access_token = format!("{}{number}", token.access_token());
        let token = TokenData::new(access_token).with_extra(token.extra().clone());
        Ok(token.with_expires_in(Duration::from_secs(3_600)))
    }
}

/// As deep as an answer may be.
fn deep() -> TokenData {
    let value = (1..126).fold(json!([]), |inner: Value, _| json!([inner]));
    TokenData::new("deep").with_extra([("x".to_owned(), value)].into_iter().collect())
}

fn long() -> TokenData {
    TokenData::new("x".repeat(800_000))
}

fn too_long() -> TokenData {
    TokenData::new("x".repeat(1_048_570))
}

/// Two processes take turns to use a token, twenty times each. Returns the number of token calls.
async fn uses(name: &str, connect: impl Fn() -> Arc<dyn TokenStorage>, token: fn() -> TokenData) -> usize {
    logs::keep();
    let provider = Arc::new(Fetching { calls: AtomicUsize::new(0), service: name.to_owned(), token });
    let processes: [TokenManager; PROCESSES] = std::array::from_fn(|_| {
        let builder = TokenManager::builder(Arc::clone(&provider)).storage(connect());
        builder.cache_key(name).build().expect("a manager")
    });
    for _ in 0..USES {
        for process in &processes {
            process.get_token().await.expect("a token");
            tokio::task::yield_now().await;
        }
    }
    provider.calls.load(Ordering::SeqCst)
}

fn warnings(name: &str) -> usize {
    let service = format!("service={name} ");
    logs::times(|line| line.level == "WARN" && line.text.contains(&service))
}

async fn expect_not_stored(
    name: &str,
    connect: impl Fn() -> Arc<dyn TokenStorage>,
    token: fn() -> TokenData,
) {
    let calls = uses(name, &connect, token).await;
    assert_eq!(calls, PROCESSES, "{name}: each process uses its own");
    assert_eq!(warnings(name), PROCESSES, "{name}: each has said so once");
    let storage = connect();
    assert!(!storage.exists(name).await.expect("an answer"), "{name}");
    let error = storage.set(name, &token()).await.expect_err(name);
    assert!(error.is_unstorable() && error.is_unsent(), "{name}: {error}");
    if let Some(leases) = storage.leases() {
        let mut lease = leases.lease(name);
        lease.acquire(CoolDownPolicy::Respect).await.expect("an answer");
        assert!(lease.store(&token(), None).await.expect_err(name).is_unstorable(), "{name}");
    }
}

async fn expect_shared(name: &str, connect: impl Fn() -> Arc<dyn TokenStorage>, token: fn() -> TokenData) {
    assert_eq!((uses(name, connect, token).await, warnings(name)), (1, 0), "{name}");
}

#[tokio::test]
async fn inv18_what_could_not_be_read_back_costs_a_call_per_process_and_a_warning() {
    let memory = InMemoryTokenStorage::new();
    let in_memory = || Arc::new(memory.clone()) as Arc<dyn TokenStorage>;
    let bare = Arc::new(Bare::default());
    let in_bare = || Arc::clone(&bare) as Arc<dyn TokenStorage>;
    expect_not_stored("encrypted-deep", || Arc::new(encrypted(in_memory(), &["k1"])), deep).await;
    expect_not_stored("encrypted-bare-deep", || Arc::new(encrypted(in_bare(), &["k1"])), deep).await;
    expect_shared("encrypted-long", || Arc::new(encrypted(in_memory(), &["k1"])), long).await;
    expect_shared("memory-deep", in_memory, deep).await;
    expect_shared("memory-too-long", in_memory, too_long).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_also_in_redis() {
    let redis = RedisServer::start().await;
    let in_redis = || {
        let builder = RedisTokenStorage::builder(redis.url()).command_timeout(Duration::from_secs(10));
        Arc::new(builder.build().expect("a storage")) as Arc<dyn TokenStorage>
    };
    expect_not_stored("redis-deep", in_redis, deep).await;
    expect_not_stored("redis-too-long", in_redis, too_long).await;
    expect_not_stored("redis-encrypted-deep", || Arc::new(encrypted(in_redis(), &["k1"])), deep).await;
    expect_not_stored("redis-encrypted-long", || Arc::new(encrypted(in_redis(), &["k1"])), long).await;
    expect_shared("redis-long", in_redis, long).await;
}
