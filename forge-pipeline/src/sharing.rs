//! Steps that several pipelines of a process share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use forge_core::TokenStorage;

use crate::step::Step;

/// A storage, and the steps that pipelines of this process share over it. Cheap to clone; clones share everything.
///
/// Pipelines over one storage find each other's stored tokens, in one process and in several. Two of them that
/// miss a token at the same moment still fetch it once each. Pipelines that are built with the same `SharedSteps`
/// share the step itself: one fetch for the callers of both, one cool-down after a failure, one invalidation.
///
/// Two pipelines share a step if their [prefixes](crate::TokenFetchPipelineBuilder::cache_key_prefix) are equal,
/// the names of the step are equal, and it depends on the same shared steps in both. Otherwise each has a step of
/// its own, and they share only the stored token.
///
/// **The newest fetcher counts.** A shared step is fetched by the fetcher of the pipeline that was built last. So
/// a program that loads its configuration anew builds a new pipeline, and the old one no longer sends the old
/// secret. A build that fails changes nothing.
///
/// A step lives as long as a pipeline that contains it. `SharedSteps` itself keeps no step alive.
///
/// ```
/// use requestforge::pipeline::SharedSteps;
/// use requestforge::{BodyTokenFetcher, InMemoryTokenStorage, TokenFetchPipeline};
///
/// # fn run() -> Result<(), requestforge::ConfigError> {
/// let app_token = || {
///     BodyTokenFetcher::builder("app_token", "https://auth.example.com", "/v1/app/token")
///         .request_data([("client_id", "app-id"), ("client_secret", "app-secret")])
///         .build()
/// };
/// let token_with = |step: &str, endpoint: &str| {
///     BodyTokenFetcher::builder(step, "https://auth.example.com", endpoint)
///         .depends_on(["app_token"])
///         .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))])
///         .build()
/// };
///
/// let shared = SharedSteps::new(InMemoryTokenStorage::new());
/// let builder = || TokenFetchPipeline::builder().shared_steps(&shared).cache_key_prefix("myapp");
/// let user = builder().step(app_token()?).step(token_with("user_token", "/v1/user/token")?).build()?;
/// let device = builder().step(app_token()?).step(token_with("device_token", "/v1/device/token")?).build()?;
/// // Both pipelines have one `app_token`.
/// # drop((user, device));
/// # Ok(())
/// # }
/// # run().unwrap();
/// ```
#[derive(Clone)]
pub struct SharedSteps(Arc<Inner>);

struct Inner {
    storage: Option<Arc<dyn TokenStorage>>,
    /// By their cache keys.
    steps: Mutex<HashMap<String, Weak<Step>>>,
}

impl SharedSteps {
    /// No steps yet, whose tokens are kept in this storage.
    #[must_use]
    pub fn new(storage: impl TokenStorage + 'static) -> Self {
        Self::over(Some(Arc::new(storage)))
    }

    /// No steps yet, whose tokens stay in this process.
    #[must_use]
    pub fn in_process() -> Self {
        Self::over(None)
    }

    pub(crate) fn over(storage: Option<Arc<dyn TokenStorage>>) -> Self {
        Self(Arc::new(Inner { storage, steps: Mutex::default() }))
    }

    pub(crate) fn storage(&self) -> Option<Arc<dyn TokenStorage>> {
        self.0.storage.clone()
    }

    /// The steps, for one pipeline while it is built.
    pub(crate) fn lock(&self) -> StepRegistry<'_> {
        StepRegistry(self.0.steps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for SharedSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSteps").field("storage", &self.0.storage).finish_non_exhaustive()
    }
}

/// The shared steps, locked.
///
/// Race: of two builds at the same moment each could replace the fetchers of some steps only, and steps with the
/// new secret would be mixed with steps that have the old one. The lock makes one build wait for the other.
pub(crate) struct StepRegistry<'a>(MutexGuard<'a, HashMap<String, Weak<Step>>>);

impl StepRegistry<'_> {
    /// The living step under this cache key, if it depends on exactly these steps.
    ///
    /// A step never changes its dependencies, and each is built after those that it depends on. So no cycle can
    /// arise, and no two fetches can wait for each other, whatever graphs the pipelines have.
    pub(crate) fn find(&self, cache_key: &str, dependencies: &[Arc<Step>]) -> Option<Arc<Step>> {
        self.0.get(cache_key).and_then(Weak::upgrade).filter(|step| step.depends_exactly_on(dependencies))
    }

    /// Offers these steps to the pipelines that are built later, in place of other steps with the same keys.
    pub(crate) fn register(&mut self, steps: &[Arc<Step>]) {
        self.0.retain(|_, step| step.strong_count() > 0);
        self.0.extend(steps.iter().map(|step| (step.cache_key().to_owned(), Arc::downgrade(step))));
    }
}
