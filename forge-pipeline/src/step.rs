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

/// One step of a pipeline, or of several that share it.
pub(crate) struct Step {
    provider: Arc<StepProvider>,
    manager: TokenManager,
}

/// What steps of one pipeline have in common.
pub(crate) struct PipelineContext {
    pub(crate) pipeline: String,
    pub(crate) storage: Option<Arc<dyn TokenStorage>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How often a token is fetched anew because its dependencies have changed meanwhile.
const MAX_REPETITIONS: usize = 2;

/// What was found under the keys of steps while one was looked at: each is looked at once, however many ways
/// lead to it.
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
            // Renewed when it is needed: whoever needs it ahead of time has a window of its own.
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

    /// A token that will do, and where it came from.
    pub(crate) async fn obtain(
        &self,
        requirement: TokenRequirement,
    ) -> Result<ObtainedToken, AuthenticationError> {
        self.in_step_span(async {
            self.alive_or_renewed(self.manager.get_token_for(requirement).await?).await
        })
        .await
    }

    /// A token fetched anew with these of the dependencies, not with older ones by somebody who has begun
    /// before.
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

    /// Another token than the one that the next step's endpoint has rejected, if there is one to be had.
    pub(crate) async fn renew_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        let renewed = self.in_step_span(async {
            match self.manager.get_token_instead_of(rejected).await? {
                Some(renewed) => self.alive_or_renewed(renewed).await.map(Some),
                None => Ok(None),
            }
        });
        Ok(renewed.await?.map(|(credential, _)| credential))
    }

    /// The valid token that is cached, if there is one.
    pub(crate) async fn find(&self) -> Option<Arc<Credential>> {
        let found = self.manager.find_token().await?;
        self.is_alive(found.token()).await.then_some(found)
    }

    /// How long a fetch takes at most, with all that it needs.
    pub(crate) fn longest_fetch(&self) -> Duration {
        self.provider.definition().longest_fetch
    }

    /// Whether it is fetched by another fetcher than when it failed last.
    pub(crate) async fn has_new_credentials(&self) -> bool {
        self.provider.has_new_credentials().await
    }

    /// Forgets a token, if it still is this one.
    pub(crate) async fn discard(&self, credential: &Credential) {
        self.manager.discard_token(credential.id()).await;
    }

    /// Forgets the token, whichever it is.
    pub(crate) async fn invalidate(&self) -> Result<(), AuthenticationError> {
        let invalidated = self.manager.invalidate_token().await;
        invalidated.map_err(|error| error.or_step(&self.provider.pipeline, self.name()))
    }

    /// This token, or a newer one where its dependencies have changed since it was obtained.
    async fn alive_or_renewed(
        &self,
        mut obtained: ObtainedToken,
    ) -> Result<ObtainedToken, AuthenticationError> {
        for _ in 0..MAX_REPETITIONS {
            if self.is_alive(obtained.0.token()).await {
                break;
            }
            obtained = self.manager.get_token_for(TokenRequirement::NewerThan(obtained.0.id())).await?;
        }
        Ok(obtained)
    }

    /// Whether the tokens with which this one was obtained still are those of today, where it dies with
    /// them. Fetches nothing.
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

    /// The identity of what [`find`](Self::find) brings, if that is not known yet.
    fn lookup<'a>(&'a self, lookups: &'a mut TokenLookups) -> BoxFuture<'a, Option<TokenId>> {
        if let Some(known) = lookups.get(&self.provider.key) {
            return std::future::ready(*known).boxed();
        }
        async move {
            let found = match self.manager.find_token().await {
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

/// The token as its fetcher brought it, without what we wrote beside it.
pub(crate) fn without_metadata(token: &TokenData) -> TokenData {
    metadata::remove_from(token)
}
