use std::fmt;
use std::sync::Arc;

use forge_core::{CacheKey, Clock, ConfigError, SystemClock, TokenFetcher, TokenStorage, check_key_word};

use crate::TokenFetchPipeline;
use crate::graph::{Graph, Node};
use crate::pipeline::Inner;
use crate::sharing::SharedStepRegistry;
use crate::step::{PipelineContext, Step};

/// Settings of a [`TokenFetchPipeline`].
///
/// | setting | default |
/// | --- | --- |
/// | [`step`](Self::step), [`steps`](Self::steps) | none; there must be one |
/// | [`storage`](Self::storage) | none: tokens stay in this pipeline |
/// | [`cache_key_prefix`](Self::cache_key_prefix) | none |
/// | [`clock`](Self::clock) | the machine's |
#[must_use]
pub struct TokenFetchPipelineBuilder {
    fetchers: Vec<Arc<dyn TokenFetcher>>,
    storage: Option<Arc<dyn TokenStorage>>,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl TokenFetchPipelineBuilder {
    pub(crate) fn new() -> Self {
        Self { fetchers: Vec::new(), storage: None, prefix: String::new(), clock: Arc::new(SystemClock) }
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

    /// Where the steps' tokens are kept besides, to be found by others: each under
    /// `{cache_key_prefix}:{step}`.
    pub fn storage(mut self, storage: impl TokenStorage + 'static) -> Self {
        self.storage = Some(Arc::new(storage));
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
    /// - the storage rejects the cache key of a step.
    pub fn build(self) -> Result<TokenFetchPipeline, ConfigError> {
        let node = |fetcher: &Arc<dyn TokenFetcher>| -> Node {
            let dependencies = fetcher.depends_on().into_iter().map(str::to_owned);
            (fetcher.name().to_owned(), dependencies.collect())
        };
        let nodes: Vec<Node> = self.fetchers.iter().map(node).collect();
        let graph = Graph::new(&nodes)?;
        check_prefix(&self.prefix)?;

        let context = PipelineContext { pipeline: self.prefix, storage: self.storage, clock: self.clock };
        let mut shared = SharedStepRegistry::lock();
        let mut steps: Vec<Option<Arc<Step>>> = vec![None; nodes.len()];
        for &index in graph.order() {
            // They come before it.
            let dependencies =
                graph.dependencies_of(index).iter().filter_map(|needed| steps[*needed].clone());
            let fetcher = Arc::clone(&self.fetchers[index]);
            let (name, dependencies) = (&nodes[index].0, dependencies.collect());
            steps[index] = Some(Step::new(fetcher, name, dependencies, &context, &mut shared)?);
        }
        drop(shared);
        Ok(TokenFetchPipeline::of(Inner {
            name: context.pipeline,
            steps: steps.into_iter().flatten().collect(),
            fetchers: self.fetchers,
            graph,
        }))
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
            .finish_non_exhaustive()
    }
}
