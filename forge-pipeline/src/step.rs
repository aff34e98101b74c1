//! A step: a fetcher, and the manager that keeps its token.

mod metadata;
mod provider;
mod storage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, Clock, ConfigError, Credential, TokenData, TokenFetcher, TokenId, TokenProvider,
    TokenRequirement, TokenStorage,
};
use forge_token::{TokenManager, TokenProvenance};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::trace::{ObtainedToken, TraceOutcome, traced};
use metadata::StepMetadata;
use provider::StepProvider;
use storage::StepStorage;

/// One step of a pipeline, or of several pipelines that share it.
pub(crate) struct Step {
    provider: Arc<StepProvider>,
    manager: TokenManager,
}

/// The settings that all steps of one pipeline have in common.
pub(crate) struct PipelineContext {
    pub(crate) pipeline: String,
    pub(crate) storage: Option<Arc<dyn TokenStorage>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How often a caller fetches a token again because the tokens that it was obtained with were replaced meanwhile.
const MAX_REPETITIONS: usize = 2;

/// The tokens that one check has found so far, by the cache keys of their steps. A step that several others depend on
/// is read once.
type TokenLookups = HashMap<String, Option<TokenId>>;

impl PipelineContext {
    /// The key under which the step of this name keeps its token.
    pub(crate) fn cache_key(&self, step: &str) -> String {
        match &*self.pipeline {
            "" => step.to_owned(),
            prefix => format!("{prefix}:{step}"),
        }
    }
}

impl Step {
    /// # Errors
    ///
    /// The storage refuses the cache key.
    pub(crate) fn new(
        name: &str,
        fetcher: Arc<dyn TokenFetcher>,
        dependencies: Vec<Arc<Self>>,
        context: &PipelineContext,
    ) -> Result<Self, ConfigError> {
        let provider = Arc::new(StepProvider::new(name, fetcher, dependencies, context));
        let mut manager = TokenManager::builder(Arc::clone(&provider))
            .clock(Arc::clone(&context.clock))
            // The manager around the pipeline has an advisory window and renews ahead of expiry. A window here would
            // renew tokens that no caller needs.
            .advisory_window(Duration::ZERO);
        if let Some(storage) = &context.storage {
            manager = manager.storage(StepStorage(Arc::clone(storage)));
        }
        Ok(Self { provider, manager: manager.build()? })
    }

    /// From now on this fetcher fetches the step's token.
    pub(crate) fn replace_fetcher(&self, fetcher: Arc<dyn TokenFetcher>) {
        self.provider.replace_fetcher(fetcher);
    }

    /// Whether the step depends on these very steps and on no others.
    pub(crate) fn depends_exactly_on(&self, steps: &[Arc<Self>]) -> bool {
        let own = &self.provider.dependencies;
        let is_own = |step: &Arc<Self>| own.iter().any(|own| Arc::ptr_eq(own, step));
        // Neither list has a step twice.
        own.len() == steps.len() && steps.iter().all(is_own)
    }

    pub(crate) fn cache_key(&self) -> &str {
        &self.provider.key
    }

    pub(crate) fn name(&self) -> &str {
        &self.provider.name
    }

    /// A token that meets the requirement, and whether it was cached, joined or fetched.
    pub(crate) async fn obtain(
        &self,
        requirement: TokenRequirement,
    ) -> Result<ObtainedToken, AuthenticationError> {
        self.in_step_span(async {
            self.alive_or_renewed(self.manager.as_dependency().get_token_for(requirement).await?).await
        })
        .await
    }

    /// A new token that was obtained with these tokens of the dependencies.
    ///
    /// Race: another caller may have begun a fetch with older tokens of the dependencies, and this call joins it. Then
    /// this call fetches once more.
    pub(crate) async fn obtain_anew(
        &self,
        needed: &[TokenId],
    ) -> Result<(Arc<Credential>, TokenProvenance), AuthenticationError> {
        let obtained = self.obtain(TokenRequirement::New).await?;
        let is_joined = obtained.1 == TokenProvenance::Joined;
        if is_joined && !self.provider.was_obtained_with(obtained.0.id(), needed) {
            return self.obtain(TokenRequirement::New).await;
        }
        Ok(obtained)
    }

    /// Another token in place of one that the endpoint of a dependent step has rejected. `None` if the step cannot get
    /// one now.
    pub(crate) async fn renew_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        let renewed = self.in_step_span(async {
            match self.manager.as_dependency().get_token_instead_of(rejected).await? {
                Some(renewed) => self.alive_or_renewed(renewed).await.map(Some),
                None => Ok(None),
            }
        });
        Ok(renewed.await?.map(|(credential, _)| credential))
    }

    /// The cached token, if it is valid. Fetches nothing.
    pub(crate) async fn find(&self) -> Option<Arc<Credential>> {
        let found = self.manager.as_dependency().find_token().await?;
        self.is_alive(found.token()).await.then_some(found)
    }

    /// The longest time that a fetch can take, with the fetches of the dependencies before it.
    pub(crate) fn longest_fetch(&self) -> Duration {
        self.provider.definition().longest_fetch
    }

    /// Whether the step has another fetcher than when it failed last.
    pub(crate) async fn has_new_secrets(&self) -> bool {
        self.provider.has_new_secrets().await
    }

    /// Forgets the token, unless another one has taken its place.
    pub(crate) async fn discard(&self, credential: &Credential) {
        self.manager.as_dependency().discard_token(credential.id()).await;
    }

    /// Forgets the token.
    pub(crate) async fn invalidate(&self) -> Result<(), AuthenticationError> {
        let invalidated = self.manager.invalidate_token().await;
        invalidated.map_err(|error| error.or_step(&self.provider.pipeline, self.name()))
    }

    /// This token, or a newer one if it has died with its dependencies.
    async fn alive_or_renewed(
        &self,
        mut obtained: ObtainedToken,
    ) -> Result<ObtainedToken, AuthenticationError> {
        for _ in 0..MAX_REPETITIONS {
            if self.is_alive(obtained.0.token()).await {
                break;
            }
            obtained = self
                .manager
                .as_dependency()
                .get_token_for(TokenRequirement::NewerThan(obtained.0.id()))
                .await?;
        }
        Ok(obtained)
    }

    /// Whether the token does not die with its dependencies, or was obtained with the tokens that these have now.
    /// Fetches nothing.
    async fn is_alive(&self, token: &TokenData) -> bool {
        self.is_alive_with(token, &mut TokenLookups::new()).await
    }

    async fn is_alive_with(&self, token: &TokenData, lookups: &mut TokenLookups) -> bool {
        if !self.provider.definition().fetcher.dies_with_dependencies() {
            return true;
        }
        let metadata = StepMetadata::of(token);
        for dependency in &self.provider.dependencies {
            let current = dependency.lookup(lookups).await;
            if !current.is_some_and(|current| metadata.was_obtained_with(dependency.name(), current)) {
                return false;
            }
        }
        true
    }

    /// The identity of the token that [`find`](Self::find) would return, read at most once for all steps of a check.
    fn lookup<'a>(&'a self, lookups: &'a mut TokenLookups) -> BoxFuture<'a, Option<TokenId>> {
        if let Some(known) = lookups.get(&self.provider.key) {
            return std::future::ready(*known).boxed();
        }
        async move {
            let found = match self.manager.as_dependency().find_token().await {
                Some(found) if self.is_alive_with(found.token(), lookups).await => Some(found.id()),
                _ => None,
            };
            lookups.insert(self.provider.key.clone(), found);
            found
        }
        .boxed()
    }

    async fn in_step_span<T: TraceOutcome>(
        &self,
        work: impl Future<Output = Result<T, AuthenticationError>>,
    ) -> Result<T, AuthenticationError> {
        let span = tracing::info_span!(
            "token_step",
            pipeline = self.provider.pipeline,
            step = self.provider.name,
            outcome = tracing::field::Empty,
            duration = tracing::field::Empty,
        );
        let result = traced(span, work).await;
        result.map_err(|error| error.or_step(&self.provider.pipeline, self.name()))
    }
}

/// The token as its fetcher returned it, without the metadata of the pipeline.
pub(crate) fn without_metadata(token: &TokenData) -> TokenData {
    metadata::remove_from(token)
}
