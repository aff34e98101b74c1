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
/// | [`clock`](Self::clock) | the machine's |
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

    /// Adds a step. The last one's token is that of the pipeline; otherwise their order does not matter.
    pub fn step(mut self, fetcher: impl TokenFetcher + 'static) -> Self {
        self.fetchers.push(Arc::new(fetcher));
        self
    }

    /// Adds several steps: of one type, or as `Arc<dyn TokenFetcher>`.
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

    /// What the steps' cache keys begin with, and how errors and spans name the pipeline. It must tell the
    /// API, the client and the user apart from others in the same storage. The prefix must not contain a `:`
    /// and must not be `auth_token`, which begins the keys of token managers. Default: empty, so that a
    /// step's key is its name.
    pub fn cache_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The clock by which tokens expire. Give the same one to the fetchers, the storage and the manager.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The pipeline. Nothing is fetched before somebody asks.
    ///
    /// # Errors
    ///
    /// Names what is invalid:
    ///
    /// - there is no step;
    /// - the name of a step is empty, contains a `:`, or is used twice;
    /// - a step depends on a name that is no step, or on itself through other steps;
    /// - the last step does not need one of the others;
    /// - the `cache_key_prefix` contains a `:` or is `auth_token`;
    /// - there is a `storage` beside `shared_steps`;
    /// - the storage rejects the cache key of a step.
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
        Ok(TokenFetchPipeline::of(Inner { name: context.pipeline, steps, fetchers: self.fetchers, graph }))
    }
}

/// The steps of this graph: shared ones where there are, and new ones.
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
        // The order has them before this step.
        let needed = graph.dependencies_of(index).iter();
        let dependencies: Vec<_> = needed.filter_map(|needed| steps[*needed].clone()).collect();
        let name = &nodes[index].0;
        steps[index] = Some(match registry.find(&context.cache_key(name), &dependencies) {
            Some(step) => step,
            None => Arc::new(Step::new(name, Arc::clone(&fetchers[index]), dependencies, context)?),
        });
    }
    let steps: Vec<_> = steps.into_iter().flatten().collect();
    // Order: after the last error, so that a build that fails changes no step of other pipelines; and each step after
    // those that it needs, since its longest fetch contains theirs.
    for &index in graph.order() {
        steps[index].replace_fetcher(Arc::clone(&fetchers[index]));
    }
    registry.register(&steps);
    Ok(steps)
}

/// The steps that others share, or steps of the pipeline's own over its storage.
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

/// Refuses a prefix with which the key of a step could be that of another one, or of a manager.
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
