//! A manager around a pipeline.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forge_core::{
    AuthenticationErrorKind, CachingProvider, ConfigError, OAuthErrorCode, StorageError, TokenData,
    TokenProvider, TokenRequirement, TokenStorage, async_trait,
};
use forge_pipeline::{PipelineTokenProvider, SharedSteps, TokenFetchPipeline};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::TokenManager;

use crate::storage::CountingStorage;
use crate::world::World;

fn managed(world: &World, refresh_from: Option<&str>) -> TokenManager {
    let storage = InMemoryTokenStorage::builder().clock(Arc::clone(&world.clock) as _).build();
    managed_in(world, refresh_from, &storage)
}

fn managed_in(world: &World, refresh_from: Option<&str>, storage: &InMemoryTokenStorage) -> TokenManager {
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    manager_of(world, pipeline, refresh_from, storage)
}

fn manager_of(
    world: &World,
    pipeline: TokenFetchPipeline,
    refresh_from: Option<&str>,
    storage: &InMemoryTokenStorage,
) -> TokenManager {
    let mut provider = PipelineTokenProvider::new(pipeline, "service");
    if let Some(step) = refresh_from {
        provider = provider.refresh_from_step(step).unwrap();
    }
    let builder = TokenManager::builder(provider).storage(storage.clone());
    builder.clock(Arc::clone(&world.clock) as _).build().unwrap()
}

#[tokio::test]
async fn a_401_renews_everything_or_from_the_step_that_was_named() {
    for (from, calls) in
        [(None, [2, 2, 2]), (Some("app"), [2, 2, 2]), (Some("user"), [1, 2, 2]), (Some("session"), [1, 1, 2])]
    {
        let world = World::chain();
        let manager = managed(&world, from);
        let first = manager.get_token().await.unwrap();
        let second = manager.refresh_rejected(&first).await.unwrap().unwrap();
        assert_eq!((second.access_token(), world.calls()), ("session-2", calls.to_vec()), "{from:?}");
        assert_eq!(manager.get_token().await.unwrap().id(), second.id());
    }
}

#[tokio::test]
async fn inv11_managers_that_were_rejected_with_one_token_renew_once() {
    let world = World::chain();
    let pipeline = world.pipeline();
    let manager = || {
        let provider = PipelineTokenProvider::new(pipeline.clone(), "service");
        TokenManager::builder(provider).clock(Arc::clone(&world.clock) as _).build().unwrap()
    };
    let (one, two) = (manager(), manager());
    let rejected = [one.get_token().await.unwrap(), two.get_token().await.unwrap()];
    assert_eq!(rejected[0].id(), rejected[1].id());
    let renewed = tokio::join!(one.refresh_rejected(&rejected[0]), two.refresh_rejected(&rejected[1]));
    let renewed = [renewed.0.unwrap().unwrap(), renewed.1.unwrap().unwrap()];
    assert!(renewed.iter().all(|token| token.access_token() == "session-2"));
    assert_eq!(world.calls(), [2, 2, 2]);
}

/// A storage whose next read of the session fails if a test says so.
#[derive(Clone, Debug)]
struct UnreliableStorage {
    tokens: InMemoryTokenStorage,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl TokenStorage for UnreliableStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        if key == "api:session" && self.fails.swap(false, Ordering::Relaxed) {
            return Err(StorageError::new("not now"));
        }
        self.tokens.get(key).await
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.tokens.set(key, token).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.tokens.delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        self.tokens.exists(key).await
    }
}

/// The read that comes before the discarding fails, so the pipeline does not see the rejected token there.
#[tokio::test]
async fn inv11_a_rejected_token_that_is_still_in_the_storage_is_not_taken_from_there() {
    for from in [None, Some("user"), Some("session")] {
        let world = World::chain();
        let storage = UnreliableStorage { tokens: InMemoryTokenStorage::new(), fails: Arc::default() };
        let pipeline = || world.builder().storage(storage.clone()).build().unwrap();
        let rejected = pipeline().execute(false).await.unwrap();
        // This pipeline is another process: it has read none of the tokens.
        let mut provider = PipelineTokenProvider::new(pipeline(), "service");
        if let Some(step) = from {
            provider = provider.refresh_from_step(step).unwrap();
        }
        storage.fails.store(true, Ordering::Relaxed);
        let renewed = provider.fetch_token_for(TokenRequirement::OtherThan(rejected.id())).await.unwrap();
        assert!(!storage.fails.load(Ordering::Relaxed));
        assert_eq!((rejected.access_token(), renewed.access_token()), ("session-1", "session-2"), "{from:?}");
    }
}

#[tokio::test]
async fn a_rejected_token_does_not_come_back_after_a_renewal_that_failed() {
    let world = World::chain();
    let manager = managed(&world, None);
    let first = manager.get_token().await.unwrap();
    world.steps[1].fail(AuthenticationErrorKind::Connect);
    manager.refresh_rejected(&first).await.unwrap_err();
    world.pass(2);
    // The failed renewal has renewed the app token, so this one does not renew it again.
    assert_eq!(manager.get_token().await.unwrap().access_token(), "session-2");
    assert_eq!(world.calls(), [2, 3, 2]);
}

#[tokio::test]
async fn nobody_builds_on_what_a_rejection_is_about_to_drop() {
    let world = World::chain();
    let pipeline = world.builder().storage(CountingStorage::new()).build().unwrap();
    let manager = TokenManager::builder(PipelineTokenProvider::new(pipeline.clone(), "service"));
    let manager = manager.clock(Arc::clone(&world.clock) as _).build().unwrap();
    let first = manager.get_token().await.unwrap();
    let is_over = Cell::new(false);
    let renewal = async {
        let renewed = manager.refresh_rejected(&first).await.unwrap().unwrap();
        is_over.set(true);
        renewed
    };
    let meanwhile = async {
        while !is_over.get() {
            pipeline.execute(false).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (renewed, ()) = tokio::join!(renewal, meanwhile);
    assert_eq!(renewed.access_token(), "session-2");
    assert_eq!(world.calls(), [2, 2, 2]);
    assert_eq!(world.steps[2].state().seen[1]["user"], "user-2");
}

#[tokio::test]
async fn inv08_a_manager_asks_again_at_once_when_a_refused_step_was_built_anew() {
    let (world, mended) = (World::chain(), World::chain());
    let storage = InMemoryTokenStorage::new();
    let shared = SharedSteps::new(storage.clone());
    let pipeline = world.builder().shared_steps(&shared).build().unwrap();
    let manager = manager_of(&world, pipeline, None, &storage);
    world.steps[0].fail(AuthenticationErrorKind::Refused(OAuthErrorCode::InvalidClient));
    for _ in 0..2 {
        manager.get_token().await.unwrap_err();
    }
    assert_eq!(world.calls(), [1, 0, 0]);
    let _mended = mended.builder().shared_steps(&shared).build().unwrap();
    assert_eq!(manager.get_token().await.unwrap().access_token(), "session-1");
    assert_eq!(mended.calls(), [1, 1, 1]);
}

#[tokio::test]
async fn inv06_a_token_that_expires_soon_is_renewed_by_its_step_alone() {
    let world =
        World::new().living("app", &[], 36_000).living("user", &["app"], 36_000).step("session", &["user"]);
    let manager = managed(&world, None);
    manager.get_token().await.unwrap();
    world.pass(3_500);
    // The manager renews in the background.
    assert_eq!(manager.get_token().await.unwrap().access_token(), "session-1");
    assert!(manager.shutdown(Duration::from_secs(60)).await);
    assert_eq!(manager.get_token().await.unwrap().access_token(), "session-2");
    assert_eq!(world.calls(), [1, 1, 2]);
}

#[tokio::test]
async fn a_forced_refresh_fetches_everything_once() {
    let world = World::chain();
    let manager = managed(&world, Some("session"));
    manager.get_token().await.unwrap();
    assert_eq!(manager.force_refresh().await.unwrap().access_token(), "session-2");
    assert_eq!(world.calls(), [2, 2, 2]);
}

#[tokio::test]
async fn an_invalidation_reaches_the_steps() {
    for (from, calls) in [(None, [2, 2, 2]), (Some("user"), [1, 2, 2])] {
        let world = World::chain();
        let storage = InMemoryTokenStorage::new();
        let manager = managed_in(&world, from, &storage);
        manager.get_token().await.unwrap();
        manager.invalidate_token().await.unwrap();
        assert!(!storage.exists("api:session").await.unwrap());
        assert_eq!(manager.get_token().await.unwrap().access_token(), "session-2");
        assert_eq!(world.calls(), calls, "{from:?}");
    }
}

#[tokio::test]
async fn inv08_a_manager_comes_back_when_the_failing_step_does() {
    let world = World::chain();
    let manager = managed(&world, None);
    for round in 1..5 {
        world.steps[0].fail(AuthenticationErrorKind::Timeout);
        let error = manager.get_token().await.unwrap_err();
        let left = manager.status().cool_down.unwrap();
        assert_eq!((error.cool_down(), error.step()), (Some(left), Some("app")));
        world.clock.advance(left.saturating_sub(Duration::from_millis(1)));
        manager.get_token().await.unwrap_err();
        assert_eq!(world.calls(), [round, 0, 0]);
        world.clock.advance(Duration::from_millis(1));
    }
    manager.get_token().await.unwrap();
}

#[tokio::test]
async fn a_manager_has_no_refresh_token_that_it_could_send() {
    let world = World::chain();
    world.steps[2].state().refresh_token = Some("r".to_owned());
    let manager = managed(&world, None);
    assert!(manager.get_token().await.unwrap().token().refresh_token().is_none());
    world.pass(3_600);
    assert_eq!(manager.get_token().await.unwrap().access_token(), "session-2");
}

#[tokio::test]
async fn errors_of_a_pipeline_without_a_prefix_name_the_service() {
    let world = World::chain();
    world.steps[0].fail(AuthenticationErrorKind::Connect);
    let pipeline = world.builder().cache_key_prefix("").build().unwrap();
    let error =
        TokenManager::new(PipelineTokenProvider::new(pipeline, "service")).get_token().await.unwrap_err();
    assert_eq!((error.service_name(), error.step()), ("service", Some("app")));
}

#[tokio::test]
async fn inv17_the_cache_key_covers_prefix_and_steps() {
    let key = |world: &World, prefix: &str, service: &str| {
        let pipeline = world.builder().cache_key_prefix(prefix).build().unwrap();
        PipelineTokenProvider::new(pipeline, service).cache_key()
    };
    let (chain, other) = (World::chain(), World::new().step("app", &[]));
    let keys = [key(&chain, "a", "s"), key(&chain, "b", "s"), key(&chain, "a", "t"), key(&other, "a", "s")];
    assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
    assert_eq!(key(&chain, "a", "s"), keys[0]);
}

#[tokio::test]
async fn inv26_a_service_name_with_a_colon_is_refused_when_the_manager_is_built() {
    let provider = |service| PipelineTokenProvider::new(World::chain().pipeline(), service);
    assert_eq!(TokenManager::builder(provider("shop:eu")).build().unwrap_err().field(), "service_name");
    assert!(TokenManager::builder(provider("shop")).build().is_ok());
    // The user sets this key as a whole, so nothing splits it.
    assert!(TokenManager::builder(provider("shop:eu")).cache_key("shop:eu").build().is_ok());
}

#[tokio::test]
async fn refresh_from_a_step_that_is_none_is_refused() {
    let provider = PipelineTokenProvider::new(World::chain().pipeline(), "service");
    let error: ConfigError = provider.refresh_from_step("x").map(drop).unwrap_err();
    let text = "`refresh_from_step`: expected the name of a step; there is no step `x`; the steps are `app`, `user`, \
                `session`";
    assert_eq!(error.to_string(), text);
}
