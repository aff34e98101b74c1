//! Steps that pipelines of a process share: when two pipelines have one step, and which fetcher it has.

use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use forge_core::{
    AuthenticationError, ConfigError, FetchContext, StorageError, TokenData, TokenFetcher, TokenStorage,
    async_trait,
};
use forge_pipeline::{SharedSteps, TokenFetchPipeline};
use forge_storage_memory::InMemoryTokenStorage;

use crate::world::{FakeStep, World, token, until};

/// Work that runs once, in the middle of a build.
type Interruption = Mutex<Option<Box<dyn FnOnce() + Send>>>;

fn interrupt(interruption: &Interruption) {
    let work = interruption.lock().unwrap().take();
    if let Some(work) = work {
        work();
    }
}

/// A storage that runs an interruption when a pipeline checks the key of one step.
struct InterruptedStorage {
    tokens: InMemoryTokenStorage,
    key: &'static str,
    interruption: Interruption,
    refuses: bool,
}

impl fmt::Debug for InterruptedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InterruptedStorage")
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

    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        if key == self.key {
            interrupt(&self.interruption);
            if self.refuses {
                return Err(ConfigError::new("cache_key", "another key"));
            }
        }
        Ok(())
    }
}

/// A step that runs an interruption when a pipeline asks for its time-out.
struct InterruptedStep {
    step: Arc<FakeStep>,
    interruption: Interruption,
}

#[async_trait]
impl TokenFetcher for InterruptedStep {
    fn name(&self) -> &str {
        self.step.name()
    }

    fn depends_on(&self) -> Vec<&str> {
        self.step.depends_on()
    }

    fn timeout(&self) -> Duration {
        interrupt(&self.interruption);
        self.step.timeout()
    }

    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        self.step.fetch(context).await
    }
}

/// A build in another thread.
type Elsewhere = Arc<Mutex<Option<JoinHandle<TokenFetchPipeline>>>>;

/// An interruption that builds this pipeline in another thread. It waits for the build, but only briefly, because the
/// build may have to wait for the interrupted one.
fn build_elsewhere(
    world: &Arc<World>,
    shared: impl Fn() -> SharedSteps + Send + 'static,
) -> (Elsewhere, Interruption) {
    let elsewhere = Elsewhere::default();
    let (thread, world) = (Arc::clone(&elsewhere), Arc::clone(world));
    let work = move || {
        let (built, is_built) = channel();
        let shared = shared();
        *thread.lock().unwrap() = Some(std::thread::spawn(move || {
            let pipeline = world.builder().shared_steps(&shared).build().unwrap();
            let _ = built.send(());
            pipeline
        }));
        let _ = is_built.recv_timeout(Duration::from_millis(200));
    };
    (elsewhere, Mutex::new(Some(Box::new(work))))
}

fn join(elsewhere: &Elsewhere) -> TokenFetchPipeline {
    elsewhere.lock().unwrap().take().unwrap().join().unwrap()
}

#[tokio::test(start_paused = true)]
async fn inv03_pipelines_that_are_built_at_once_make_no_steps_that_wait_for_each_other() {
    let one = World::new().step("a", &[]).step("b", &["a"]);
    let other = Arc::new(World::new().step("b", &[]).step("a", &["b"]));
    let handle: Arc<Mutex<Option<SharedSteps>>> = Arc::default();
    let (elsewhere, interruption) = build_elsewhere(&other, {
        let handle = Arc::clone(&handle);
        move || handle.lock().unwrap().clone().unwrap()
    });
    // The interruption comes after the first step.
    let tokens = InMemoryTokenStorage::new();
    let shared = SharedSteps::new(InterruptedStorage { tokens, key: "api:b", interruption, refuses: false });
    *handle.lock().unwrap() = Some(shared.clone());
    let one = one.builder().shared_steps(&shared).build().unwrap();
    let other = join(&elsewhere);
    assert_eq!((token(&one).await, token(&other).await), ("b-1".to_owned(), "a-1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn inv03_a_pipeline_that_turns_dependencies_round_waits_for_no_fetch_that_waits_for_it() {
    let old = World::new().step("a", &[]).step("b", &["a"]);
    let new = World::new().step("b", &[]).step("a", &["b"]);
    let shared = SharedSteps::in_process();
    let pipelines = [&old, &new].map(|world| world.builder().shared_steps(&shared).build().unwrap());
    let begun = tokio::time::Instant::now();
    // If the pipelines shared these steps, the fetch of the old `b` would wait for `a`, and the new `a` for `b`.
    let gates = [old.steps[0].hold(), new.steps[0].hold()];
    let calls = pipelines.map(|pipeline| tokio::spawn(async move { token(&pipeline).await }));
    until(|| old.calls() == [1, 0] && new.calls() == [1, 0]).await;
    for gate in gates {
        gate.add_permits(1);
    }
    let [old_token, new_token] = calls;
    assert_eq!((old_token.await.unwrap(), new_token.await.unwrap()), ("b-1".to_owned(), "a-1".to_owned()));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn all_shared_steps_have_the_fetchers_of_one_pipeline_if_two_are_built_at_once() {
    let chain = || World::new().step("a", &[]).step("b", &["a"]);
    let (first, interrupted, last) = (chain(), chain(), Arc::new(chain()));
    let shared = SharedSteps::in_process();
    let pipeline = first.builder().shared_steps(&shared).build().unwrap();
    let (elsewhere, interruption) = build_elsewhere(&last, {
        let shared = shared.clone();
        move || shared.clone()
    });
    // The interruption comes after this build has replaced the fetcher of `a`.
    let step = InterruptedStep { step: Arc::clone(&interrupted.steps[1]), interruption };
    let builder = interrupted.first(1).builder().step(step);
    let _interrupted = builder.shared_steps(&shared).build().unwrap();
    let _last = join(&elsewhere);
    assert_eq!(token(&pipeline).await, "b-1");
    assert_eq!((first.calls(), interrupted.calls(), last.calls()), (vec![0; 2], vec![0; 2], vec![1; 2]));
}

#[tokio::test]
async fn a_build_that_fails_leaves_the_shared_steps_as_they_are() {
    let (world, refused) = (World::chain(), World::chain().step("other", &["session"]));
    let tokens = InMemoryTokenStorage::new();
    let storage =
        InterruptedStorage { tokens, key: "api:other", interruption: Mutex::default(), refuses: true };
    let shared = SharedSteps::new(storage);
    let pipeline = world.builder().shared_steps(&shared).build().unwrap();
    refused.builder().shared_steps(&shared).build().unwrap_err();
    assert_eq!(token(&pipeline).await, "session-1");
    assert_eq!((world.calls(), refused.calls()), (vec![1, 1, 1], vec![0; 4]));
}

#[tokio::test]
async fn steps_that_depend_on_other_steps_are_not_shared_but_those_before_them_are() {
    let world = World::new().step("app", &[]).step("user", &["app"]);
    let other = World::new().step("app", &[]).step("device", &[]).step("user", &["app", "device"]);
    let shared = SharedSteps::in_process();
    let pipeline = world.builder().shared_steps(&shared).build().unwrap();
    let another = other.builder().shared_steps(&shared).build().unwrap();
    assert_eq!((token(&pipeline).await, token(&another).await), ("user-1".to_owned(), "user-1".to_owned()));
    assert_eq!((world.calls(), other.calls()), (vec![0, 1], vec![1, 1, 1]));
}

#[tokio::test]
async fn pipelines_without_shared_steps_share_what_is_stored_and_nothing_else() {
    let worlds = [World::chain(), World::chain()];
    let storage = InMemoryTokenStorage::new();
    let pipelines = worlds.each_ref().map(|world| world.builder().storage(storage.clone()).build().unwrap());
    let gates = worlds.each_ref().map(|world| world.steps[0].hold());
    let calls = pipelines.map(|pipeline| tokio::spawn(async move { token(&pipeline).await }));
    until(|| worlds.iter().all(|world| world.calls()[0] == 1)).await;
    for gate in gates {
        gate.add_permits(1);
    }
    for call in calls {
        call.await.unwrap();
    }
    let late = World::chain();
    let pipeline = late.builder().storage(storage).build().unwrap();
    assert_eq!((token(&pipeline).await, late.calls()), ("session-1".to_owned(), vec![0; 3]));
}

#[test]
fn shared_steps_and_a_storage_are_refused() {
    let shared = SharedSteps::in_process();
    let builder = World::chain().builder().shared_steps(&shared).storage(InMemoryTokenStorage::new());
    let text = "`storage`: expected no storage beside `shared_steps`, which has a storage of its own";
    assert_eq!(builder.build().unwrap_err().to_string(), text);
}
