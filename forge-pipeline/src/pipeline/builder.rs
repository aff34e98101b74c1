use std::fmt;
use std::sync::Arc;

use forge_core::{CacheKey, Clock, ConfigError, SystemClock, TokenFetcher, TokenStorage, check_key_word};

use crate::graph::{Graph, Node};
use crate::pipeline::Inner;
use crate::step::{PipelineContext, Step};
use crate::{SharedSteps, TokenFetchPipeline};

/// Settings of a [`TokenFetchPipeline`].
///
/// | setting | default |
/// | --- | --- |
/// | [`step`](Self::step), [`steps`](Self::steps) | none; there must be one |
/// | [`storage`](Self::storage), [`shared_steps`](Self::shared_steps) | none: tokens stay in this pipeline |
/// | [`cache_key_prefix`](Self::cache_key_prefix) | none |
/// | [`clock`](Self::clock) | the system's |
#[must_use]
pub struct TokenFetchPipelineBuilder {
    fetchers: Vec<Arc<dyn TokenFetcher>>,
    storage: Option<Arc<dyn TokenStorage>>,
    shared_steps: Option<SharedSteps>,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl TokenFetchPipelineBuilder {
    pub(crate) fn new() -> Self {
        Self {
            fetchers: Vec::new(),
            storage: None,
            shared_steps: None,
            prefix: String::new(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Adds a step. The token of the step that is added last is the result of the pipeline. The order of the other
    /// steps does not matter.
    pub fn step(mut self, fetcher: impl TokenFetcher + 'static) -> Self {
        self.fetchers.push(Arc::new(fetcher));
        self
    }

    /// Adds several steps of one type. Steps of different types fit as `Arc<dyn TokenFetcher>`.
    pub fn steps(mut self, fetchers: impl IntoIterator<Item = impl TokenFetcher + 'static>) -> Self {
        for fetcher in fetchers {
            self = self.step(fetcher);
        }
        self
    }

    /// The storage in which the steps keep their tokens, each under `{cache_key_prefix}:{step}`. Pipelines over one
    /// storage find each other's tokens. Several pipelines of one process that need the same step fetch its token
    /// together if they are built with [`shared_steps`](Self::shared_steps) instead.
    pub fn storage(mut self, storage: impl TokenStorage + 'static) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// Shares steps with other pipelines of this process, and takes the place of [`storage`](Self::storage):
    /// `SharedSteps` has a storage of its own.
    pub fn shared_steps(mut self, shared: &SharedSteps) -> Self {
        self.shared_steps = Some(shared.clone());
        self
    }

    /// The beginning of the steps' cache keys, and the name of the pipeline in errors and spans. Choose one prefix
    /// for each API, client and user that has tokens in the same storage. The prefix must not contain a `:` and
    /// must not be `auth_token`, which begins the keys of token managers. Default: empty, so that the key of a step
    /// is its name.
    pub fn cache_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The clock by which tokens expire. Give the same clock to the fetchers, the storage and the manager. A shared
    /// step keeps the clock of the pipeline that was built first.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the pipeline, without a fetch.
    ///
    /// # Errors
    ///
    /// Names what is invalid:
    ///
    /// - the pipeline has no step;
    /// - the name of a step is empty, contains a `:`, or is the name of another step;
    /// - a step depends on a name that no step has, or on itself, directly or through other steps;
    /// - the last step does not need one of the other steps;
    /// - the `cache_key_prefix` contains a `:` or is `auth_token`;
    /// - both `storage` and `shared_steps` are set;
    /// - the storage refuses the cache key of a step.
    #[doc(alias = "validate_dependencies")]
    pub fn build(self) -> Result<TokenFetchPipeline, ConfigError> {
        let node = |fetcher: &Arc<dyn TokenFetcher>| -> Node {
            let dependencies = fetcher.depends_on().into_iter().map(str::to_owned);
            (fetcher.name().to_owned(), dependencies.collect())
        };
        let nodes: Vec<Node> = self.fetchers.iter().map(node).collect();
        let graph = Graph::new(&nodes)?;
        check_prefix(&self.prefix)?;

        let shared = shared_steps(self.shared_steps, self.storage)?;
        let context = PipelineContext { pipeline: self.prefix, storage: shared.storage(), clock: self.clock };
        let steps = steps_of(&nodes, &self.fetchers, &graph, &context, &shared)?;
        Ok(TokenFetchPipeline::new(Inner { name: context.pipeline, steps, fetchers: self.fetchers, graph }))
    }
}

/// The shared steps that fit this graph, and new steps for the rest of it.
fn steps_of(
    nodes: &[Node],
    fetchers: &[Arc<dyn TokenFetcher>],
    graph: &Graph,
    context: &PipelineContext,
    shared: &SharedSteps,
) -> Result<Vec<Arc<Step>>, ConfigError> {
    let mut registry = shared.lock();
    let mut steps: Vec<Option<Arc<Step>>> = vec![None; nodes.len()];
    for &index in graph.order() {
        // The order of the graph has each step after those that it needs, so none of them is missing here.
        let needed = graph.dependencies_of(index).iter();
        let dependencies: Vec<_> = needed.filter_map(|needed| steps[*needed].clone()).collect();
        let name = &nodes[index].0;
        steps[index] = Some(match registry.find(&context.cache_key(name), &dependencies) {
            Some(step) => step,
            None => Arc::new(Step::new(name, Arc::clone(&fetchers[index]), dependencies, context)?),
        });
    }
    let steps: Vec<_> = steps.into_iter().flatten().collect();
    // Order: nothing below can fail, so a build that fails leaves the steps of other pipelines as they are. A step
    // comes after those that it needs, because its longest fetch is computed from theirs.
    for &index in graph.order() {
        steps[index].replace_fetcher(Arc::clone(&fetchers[index]));
    }
    registry.register(&steps);
    Ok(steps)
}

/// The steps that other pipelines share, or an empty set over the pipeline's own storage.
fn shared_steps(
    shared: Option<SharedSteps>,
    storage: Option<Arc<dyn TokenStorage>>,
) -> Result<SharedSteps, ConfigError> {
    match (shared, storage) {
        (Some(_), Some(_)) => {
            let expected = "no storage beside `shared_steps`, which has a storage of its own";
            Err(ConfigError::new("storage", expected))
        }
        (Some(shared), None) => Ok(shared),
        (None, storage) => Ok(SharedSteps::over(storage)),
    }
}

/// Refuses a prefix with which the key of a step could equal the key of another step or of a manager.
fn check_prefix(prefix: &str) -> Result<(), ConfigError> {
    check_key_word("cache_key_prefix", prefix)?;
    if prefix == CacheKey::FIRST_SEGMENT {
        let expected = format!("a name other than `{prefix}`, which begins the cache keys of token managers");
        return Err(ConfigError::new("cache_key_prefix", expected));
    }
    Ok(())
}

impl fmt::Debug for TokenFetchPipelineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFetchPipelineBuilder")
            .field("cache_key_prefix", &self.prefix)
            .field("steps", &self.fetchers.iter().map(TokenFetcher::name).collect::<Vec<_>>())
            .field("storage", &self.storage)
            .field("shared_steps", &self.shared_steps)
            .finish_non_exhaustive()
    }
}
