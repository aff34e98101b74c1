mod builder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Credential, TokenData, TokenFetcher, TokenId,
    TokenRequirement,
};
use futures_util::FutureExt;
use futures_util::future::try_join_all;

use crate::graph::{Graph, quoted_list};
use crate::step::{Step, without_metadata};
use crate::trace::{ObtainedToken, traced};
pub use builder::TokenFetchPipelineBuilder;

/// Several steps that lead to one token. Each step receives the tokens of the steps that it depends on. Cheap to
/// clone; clones share everything.
///
/// The pipeline caches the token of each step under `{prefix}:{step}`, for as long as the step or its issuer says.
/// It fetches only the tokens that are missing on the way to the last step: while the token of the last step is
/// valid, no step makes a call, even if the tokens of earlier steps have expired. Steps that do not need each other
/// are fetched at the same time. Any number of concurrent callers cause one call of each step.
///
/// Each step has a [`TokenManager`](forge_token::TokenManager). After a failure the manager does not call the step
/// again for a while, and the steps that need it wait for exactly as long. The tokens of earlier steps stay cached.
/// A step takes no lease of the storage. For one fetch in a fleet of processes, put a manager around the pipeline
/// with a [`PipelineTokenProvider`](crate::PipelineTokenProvider): its lease covers all steps.
///
/// # After a 401
///
/// If the endpoint of a step answers 401, the pipeline renews the tokens that the step has sent, and calls the step
/// once more. The steps that are renewed do the same. So the pipeline replaces a revoked token however many steps
/// lie between. [`refresh_from_step`](crate::PipelineTokenProvider::refresh_from_step) says what happens after a 401
/// of the API.
///
/// # Sharing steps
///
/// Pipelines over one storage, in one process or in several, find each other's stored tokens. Several pipelines of
/// one process that need the same step can share the step itself, with its fetches, its failures and its
/// invalidations: see [`SharedSteps`](crate::SharedSteps). Steps with different prefixes are different steps, so
/// give each API, client and user a prefix.
///
/// # Spans
///
/// Each execution has a span `token_pipeline`, and each request for the token of a step has a span `token_step`. Their
/// fields are `pipeline`, `step`, `duration` and `outcome`. The outcome is `cached`, `joined` (another caller had
/// begun the fetch), `fetched` or `failed`. It is `none` if an endpoint rejected the token of a step and the step
/// cannot get another token now.
///
/// ```no_run
/// # async fn run(pipeline: requestforge::TokenFetchPipeline) -> Result<(), requestforge::AuthenticationError> {
/// let token = pipeline.execute(false).await?; // fetches the tokens that are missing
/// let again = pipeline.execute(false).await?; // returns the cached token
/// assert_eq!(token, again);
/// pipeline.invalidate_step("app_token").await?; // forgets this token and those that depend on it
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenFetchPipeline(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) name: String,
    /// In the order in which they were listed, as `fetchers`. The token of the last step is the result.
    pub(crate) steps: Vec<Arc<Step>>,
    pub(crate) fetchers: Vec<Arc<dyn TokenFetcher>>,
    pub(crate) graph: Graph,
}

impl TokenFetchPipeline {
    /// A pipeline without steps yet.
    pub fn builder() -> TokenFetchPipelineBuilder {
        TokenFetchPipelineBuilder::new()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Returns the token of the step that was listed last, and fetches the tokens that are missing for it. With
    /// `force_refresh` it fetches the token of every step once.
    ///
    /// # Errors
    ///
    /// A step failed. The error names the pipeline by its prefix, and the [step](AuthenticationError::step). The
    /// tokens that were fetched before stay cached.
    pub async fn execute(&self, force_refresh: bool) -> Result<TokenData, AuthenticationError> {
        self.obtain(if force_refresh { TokenRequirement::New } else { TokenRequirement::Valid }, None).await
    }

    /// Forgets the token of a step, and the tokens of all steps that depend on it, directly or through other steps. A
    /// pipeline that [shares](crate::SharedSteps) these steps loses their tokens too, and keeps those of its own steps.
    ///
    /// # Errors
    ///
    /// No step has this name, or the storage did not delete a token. This process forgets the tokens in the second
    /// case, too.
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
    /// The storage did not delete a token. This process forgets the tokens all the same.
    pub async fn invalidate_all(&self) -> Result<(), AuthenticationError> {
        self.invalidate(self.0.graph.order()).await
    }

    /// The fetcher of a step.
    #[must_use]
    pub fn get_step(&self, name: &str) -> Option<&dyn TokenFetcher> {
        Some(&*self.0.fetchers[self.index_of(name)?])
    }

    /// The names of all steps, in the order in which they were listed.
    #[must_use]
    pub fn step_names(&self) -> Vec<&str> {
        self.0.fetchers.iter().map(TokenFetcher::name).collect()
    }

    /// The beginning of the steps' cache keys, and the name of the pipeline in errors and spans.
    #[must_use]
    pub fn cache_key_prefix(&self) -> &str {
        &self.0.name
    }

    /// A token that meets the requirement. If the API has rejected a token, the pipeline renews the step
    /// `refresh_from` and all steps that depend on it, or every step if that is `None`.
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
                requirement => self.last().obtain(requirement).await,
            }
        });
        Ok(without_metadata(obtained.await?.0.token()))
    }

    /// The longest time that an execution can take, by the time-outs of its steps.
    pub(crate) fn longest_fetch(&self) -> Duration {
        self.last().longest_fetch()
    }

    /// Whether the last step has another fetcher than when it failed last.
    pub(crate) async fn has_new_secrets(&self) -> bool {
        self.last().has_new_secrets().await
    }

    /// As [`invalidate_step`](Self::invalidate_step), for the step with this index.
    pub(crate) async fn invalidate_from(&self, step: usize) -> Result<(), AuthenticationError> {
        self.invalidate(&self.0.graph.with_dependents(step)).await
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.0.fetchers.iter().position(|fetcher| fetcher.name() == name)
    }

    pub(crate) fn unknown_step_message(&self, name: &str) -> String {
        format!("there is no step `{name}`; the steps are {}", quoted_list(&self.step_names()))
    }

    fn last(&self) -> &Step {
        &self.0.steps[self.0.steps.len() - 1]
    }

    /// Fetches the token of every step once, each step after those that it needs.
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

    /// Discards a rejected token and the tokens that it was obtained with, if the last step still has the rejected
    /// token. If it has another one, another caller has renewed it already, and this call discards nothing. So many
    /// callers with one rejected token cause one renewal.
    async fn discard(&self, rejected: TokenId, refresh_from: Option<usize>) {
        let graph = &self.0.graph;
        let indexes = refresh_from.map_or_else(|| graph.order().to_vec(), |step| graph.with_dependents(step));
        // Race: another caller with the same rejected token may be ahead of this one. Every caller discards the token
        // of the last step last, so while that is in place, no step before it has been fetched because of the
        // rejection. This call reads the last step last: if it still finds the rejected token there, none of the
        // tokens that it has read before is a renewed one.
        let mut found = Vec::new();
        for index in indexes {
            let step = &self.0.steps[index];
            found.push((step, step.find().await));
        }
        let last = found.last().and_then(|(_, credential)| credential.as_ref());
        if last.is_some_and(|credential| credential.id() == rejected) {
            for (step, credential) in found {
                // Order: a step goes before the steps that depend on it. The reverse would let a fetch in between
                // use a token that is discarded next.
                if let Some(credential) = credential {
                    step.discard(&credential).await;
                }
            }
        }
    }

    /// Forgets the tokens of these steps, each before those that depend on it.
    ///
    /// Order: the reverse would let a fetch in between use a token that is forgotten next.
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
