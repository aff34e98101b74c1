//! Steps that pipelines of a process have in common, and who says how they are fetched.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use forge_core::{Generation, StorageError, TokenData, TokenStorage, async_trait};
use forge_pipeline::TokenFetchPipeline;
use forge_storage_memory::InMemoryTokenStorage;

use crate::world::{World, token};

/// A storage that does something else first when it is asked for the counter of one step.
struct InterruptedStorage {
    tokens: InMemoryTokenStorage,
    key: &'static str,
    first: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for InterruptedStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interrupted")
    }
}

#[async_trait]
impl TokenStorage for InterruptedStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
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

    fn generation(&self, key: &str) -> Option<Generation> {
        let first = if key == self.key { self.first.lock().unwrap().take() } else { None };
        if let Some(first) = first {
            first();
        }
        self.tokens.generation(key)
    }
}

/// Builds this pipeline in another thread, and waits until it is built; not for ever, as it may have to wait.
fn build_elsewhere(world: Arc<World>, storage: InMemoryTokenStorage) -> JoinHandle<TokenFetchPipeline> {
    let (built, is_built) = channel();
    let thread = std::thread::spawn(move || {
        let pipeline = world.builder().storage(storage).build().unwrap();
        let _ = built.send(());
        pipeline
    });
    let _ = is_built.recv_timeout(Duration::from_millis(200));
    thread
}

#[tokio::test(start_paused = true)]
async fn inv03_pipelines_that_are_built_at_once_make_no_steps_that_wait_for_each_other() {
    let one = World::new().step("a", &[]).step("b", &["a"]);
    let other = Arc::new(World::new().step("b", &[]).step("a", &["b"]));
    let tokens = InMemoryTokenStorage::new();
    let elsewhere: Arc<Mutex<Option<JoinHandle<_>>>> = Arc::default();
    let first = {
        let (tokens, other, elsewhere) = (tokens.clone(), Arc::clone(&other), Arc::clone(&elsewhere));
        move || *elsewhere.lock().unwrap() = Some(build_elsewhere(other, tokens))
    };
    // In the middle: it has its first step by then.
    let storage = InterruptedStorage { tokens, key: "api:b", first: Mutex::new(Some(Box::new(first))) };
    let one = one.builder().storage(storage).build().unwrap();
    let other = elsewhere.lock().unwrap().take().unwrap().join().unwrap();
    assert_eq!((token(&one).await, token(&other).await), ("b-1".to_owned(), "a-1".to_owned()));
}
