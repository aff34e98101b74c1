use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Credential, TokenData, TokenFetcher, TokenId,
    TokenRequirement,
};
use futures_util::FutureExt;
use futures_util::future::try_join_all;

use crate::TokenFetchPipelineBuilder;
use crate::graph::{Graph, quoted_list};
use crate::step::{Step, without_metadata};
use crate::trace::{ObtainedToken, traced};

/// Several steps that lead to a token, each with the tokens of those that it depends on. Cheap to clone;
/// clones share everything.
///
/// Each step's token is cached by itself, under `{prefix}:{step}`, and lives as long as the step says, or its
/// issuer. What is cached and valid is not fetched, and neither is what only that would have needed: a valid
/// token of the last step takes no call, even if those before it have expired. Steps that do not need each
/// other are fetched at the same time. Any number of callers cause one call per step.
///
/// Behind each step stands a [`TokenManager`](forge_token::TokenManager), with all that it does about
/// failures: a step that fails is not tried again for a while, and everything that needs it waits as long,
/// and no longer. Steps that were fetched before stay cached. A step takes no lease of the storage: put a
/// manager around the pipeline ([`PipelineTokenProvider`](crate::PipelineTokenProvider)), whose lease covers
/// all of it.
///
/// # After a 401
///
/// A step whose endpoint answers 401 has the tokens that it showed renewed, once, and is repeated: so a
/// revoked app token heals by itself, however deep it lies. A 401 of the API itself is up to
/// [`refresh_from_step`](crate::PipelineTokenProvider::refresh_from_step).
///
/// # Sharing steps
///
/// Pipelines over one storage, in one process or in several, find each other's stored tokens. Several pipelines of
/// one process that need the same step can share the step itself, with its fetches, its failures and its
/// invalidations: see [`SharedSteps`](crate::SharedSteps). Steps with different prefixes are different steps, so
/// give each API, client and user a prefix.
///
/// # What is traced
///
/// A span `token_pipeline` for each execution, and a span `token_step` for each time that a step is asked, with
/// the fields `pipeline`, `step`, `duration` and `outcome`: `cached`, `joined` (somebody else was fetching),
/// `fetched`, `failed`, or, of a step whose token was refused, `none`: there is no other one to be had now.
///
/// ```no_run
/// # async fn run(pipeline: forge_pipeline::TokenFetchPipeline) -> Result<(), forge_core::AuthenticationError> {
/// let token = pipeline.execute(false).await?; // what is missing is fetched
/// let again = pipeline.execute(false).await?; // the same one
/// assert_eq!(token, again);
/// pipeline.invalidate_step("app_token").await?; // and all that depend on it
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenFetchPipeline(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) name: String,
    /// By their places in the list; the last one's token is the result.
    pub(crate) steps: Vec<Arc<Step>>,
    pub(crate) fetchers: Vec<Arc<dyn TokenFetcher>>,
    pub(crate) graph: Graph,
}

impl TokenFetchPipeline {
    /// A pipeline without steps yet.
    pub fn builder() -> TokenFetchPipelineBuilder {
        TokenFetchPipelineBuilder::new()
    }

    pub(crate) fn of(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// The token of the step that was listed last. Fetches what is missing for it; with `force_refresh`
    /// every step, each once.
    ///
    /// # Errors
    ///
    /// A step failed: the error names the pipeline, by its prefix, and the
    /// [step](AuthenticationError::step). What was fetched before stays cached; nothing else changes.
    pub async fn execute(&self, force_refresh: bool) -> Result<TokenData, AuthenticationError> {
        self.obtain(if force_refresh { TokenRequirement::New } else { TokenRequirement::Valid }, None).await
    }

    /// Forgets the token of a step, and of all that depend on it, directly or not. Other pipelines that
    /// share steps keep what they have of their own.
    ///
    /// # Errors
    ///
    /// There is no such step, or the storage could not be told; here the tokens are forgotten all the same.
    pub async fn invalidate_step(&self, name: &str) -> Result<(), AuthenticationError> {
        let Some(step) = self.index_of(name) else {
            let error = AuthenticationError::new(&self.0.name, AuthenticationErrorKind::Configuration);
            return Err(error.with_message(self.unknown_step_message(name)));
        };
        self.invalidate_from(step).await
    }

    /// Forgets the tokens of all steps.
    ///
    /// # Errors
    ///
    /// The storage could not be told; here the tokens are forgotten all the same.
    pub async fn invalidate_all(&self) -> Result<(), AuthenticationError> {
        self.invalidate(self.0.graph.order()).await
    }

    /// The fetcher of a step.
    #[must_use]
    pub fn get_step(&self, name: &str) -> Option<&dyn TokenFetcher> {
        Some(&*self.0.fetchers[self.index_of(name)?])
    }

    /// The names of all steps, as they were listed.
    #[must_use]
    pub fn step_names(&self) -> Vec<&str> {
        self.0.fetchers.iter().map(TokenFetcher::name).collect()
    }

    /// What stands before the steps' names in their cache keys, and names the pipeline in errors and spans.
    #[must_use]
    pub fn cache_key_prefix(&self) -> &str {
        &self.0.name
    }

    /// A token that will do. Where one was rejected, this step is renewed and all that depend on it, or
    /// everything.
    pub(crate) async fn obtain(
        &self,
        requirement: TokenRequirement,
        refresh_from: Option<usize>,
    ) -> Result<TokenData, AuthenticationError> {
        let span = tracing::info_span!(
            "token_pipeline",
            pipeline = self.0.name,
            outcome = tracing::field::Empty,
            duration = tracing::field::Empty,
        );
        let obtained = traced(span, async {
            match requirement {
                TokenRequirement::New => self.fetch_anew().await,
                TokenRequirement::OtherThan(rejected) => {
                    self.discard(rejected, refresh_from).await;
                    self.last().obtain(TokenRequirement::NewerThan(rejected)).await
                }
                lazily => self.last().obtain(lazily).await,
            }
        });
        Ok(without_metadata(obtained.await?.0.token()))
    }

    /// How long an execution may take, by the time-outs of its steps.
    pub(crate) fn longest_fetch(&self) -> Duration {
        self.last().longest_fetch()
    }

    /// Whether it was built anew since it failed last.
    pub(crate) async fn has_new_credentials(&self) -> bool {
        self.last().has_new_credentials().await
    }

    /// As [`invalidate_step`](Self::invalidate_step), for a step that there is.
    pub(crate) async fn invalidate_from(&self, step: usize) -> Result<(), AuthenticationError> {
        self.invalidate(&self.0.graph.with_dependents(step)).await
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.0.fetchers.iter().position(|fetcher| fetcher.name() == name)
    }

    pub(crate) fn unknown_step_message(&self, name: &str) -> String {
        format!("there is no step `{name}`; there are {}", quoted_list(&self.step_names()))
    }

    fn last(&self) -> &Step {
        &self.0.steps[self.0.steps.len() - 1]
    }

    /// Fetches every step once, each after those that it needs.
    async fn fetch_anew(&self) -> Result<ObtainedToken, AuthenticationError> {
        let Inner { graph, steps, .. } = &*self.0;
        let mut fetches = vec![None; steps.len()];
        for &index in graph.order() {
            let needed: Vec<_> =
                graph.dependencies_of(index).iter().filter_map(|needed| fetches[*needed].clone()).collect();
            let fetch = async move {
                let needed: Vec<(Arc<Credential>, _)> = try_join_all(needed).await?;
                let needed: Vec<_> = needed.iter().map(|(credential, _)| credential.id()).collect();
                steps[index].obtain_anew(&needed).await
            };
            fetches[index] = Some(fetch.boxed().shared());
        }
        match fetches.pop().flatten() {
            Some(last) => last.await,
            None => self.last().obtain(TokenRequirement::New).await,
        }
    }

    /// Drops the tokens from which a rejected one came, if it still is the one at hand. Not what others have
    /// renewed meanwhile: of all who were rejected with it one renews.
    async fn discard(&self, rejected: TokenId, refresh_from: Option<usize>) {
        let graph = &self.0.graph;
        let indexes = refresh_from.map_or_else(|| graph.order().to_vec(), |step| graph.with_dependents(step));
        // The last step's last: as long as it has the rejected token, nobody has begun to fetch the others
        // because of it. Dropped in the same order, so that nobody builds on one that is about to go.
        let mut found = Vec::new();
        for index in indexes {
            let step = &self.0.steps[index];
            found.push((step, step.find().await));
        }
        let is =
            |credential: &Option<Arc<Credential>>| credential.as_ref().is_some_and(|it| it.id() == rejected);
        if found.last().is_some_and(|(_, last)| is(last)) {
            for (step, credential) in found {
                if let Some(credential) = credential {
                    step.discard(&credential).await;
                }
            }
        }
    }

    /// In this order, so that what is fetched meanwhile is not built on what is about to go.
    async fn invalidate(&self, indexes: &[usize]) -> Result<(), AuthenticationError> {
        let mut outcome = Ok(());
        for index in indexes {
            outcome = outcome.and(self.0.steps[*index].invalidate().await);
        }
        outcome
    }
}

impl fmt::Debug for TokenFetchPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFetchPipeline")
            .field("cache_key_prefix", &self.0.name)
            .field("steps", &self.step_names())
            .finish_non_exhaustive()
    }
}
