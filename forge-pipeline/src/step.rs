//! A step: a fetcher, and the manager that keeps its token.

mod call;
mod note;
mod storage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, Clock, ConfigError, Credential, Generation, TokenData, TokenFetcher, TokenId,
    TokenProvider, TokenRequirement, TokenStorage,
};
use forge_token::{TokenManager, TokenProvenance};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::sharing::SharedSteps;
use crate::trace::{Obtained, Outcome, traced};
use call::{Means, StepCall};
use note::Note;
use storage::StepStorage;

/// One step of a pipeline, or of several that share it.
pub(crate) struct Step {
    call: Arc<StepCall>,
    manager: TokenManager,
    _generation: Option<Generation>,
}

/// What steps of one pipeline have in common.
pub(crate) struct Surroundings {
    pub(crate) pipeline: String,
    pub(crate) storage: Option<Arc<dyn TokenStorage>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How often a token is fetched anew because its dependencies have changed meanwhile.
const MAX_REPETITIONS: usize = 2;

/// What was found under the keys of steps while one was looked at: each is looked at once, however many ways
/// lead to it.
type Looked = HashMap<String, Option<TokenId>>;

impl Step {
    /// The step that keeps its token under this name; its dependencies are given.
    pub(crate) fn new(
        fetcher: Arc<dyn TokenFetcher>,
        name: &str,
        dependencies: Vec<Arc<Self>>,
        around: &Surroundings,
        shared: &mut SharedSteps,
    ) -> Result<Arc<Self>, ConfigError> {
        let key = match &*around.pipeline {
            "" => name.to_owned(),
            prefix => format!("{prefix}:{name}"),
        };
        let generation = around.storage.as_ref().and_then(|storage| storage.generation(&key));
        let make = |means: Means| {
            let clock = Arc::clone(&around.clock);
            let call = Arc::new(StepCall::new(&around.pipeline, name, &key, clock, means));
            let mut manager = TokenManager::builder(Arc::clone(&call))
                .clock(Arc::clone(&around.clock))
                // Renewed when it is needed: whoever needs it ahead of time has a window of its own.
                .advisory_window(Duration::ZERO);
            if let Some(storage) = &around.storage {
                manager = manager.storage(StepStorage(Arc::clone(storage)));
            }
            Ok(Self { call, manager: manager.build()?, _generation: generation.clone() })
        };
        let means = Means::new(fetcher, dependencies);
        match &generation {
            Some(generation) => {
                shared.step(generation, means, make, |step, means| step.call.take_over(means))
            }
            None => make(means).map(Arc::new),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.call.name
    }

    /// A token that will do, and where it came from.
    pub(crate) async fn obtain(&self, demand: TokenRequirement) -> Result<Obtained, AuthenticationError> {
        self.told(async { self.alive_or_newer(self.manager.get_token_for(demand).await?).await }).await
    }

    /// A token fetched anew with these of the dependencies, not with older ones by somebody who has begun
    /// before.
    pub(crate) async fn obtain_anew(
        &self,
        needed: &[TokenId],
    ) -> Result<(Arc<Credential>, TokenProvenance), AuthenticationError> {
        let obtained = self.obtain(TokenRequirement::New).await?;
        let is_joined = obtained.1 == TokenProvenance::Joined;
        if is_joined && !self.call.was_obtained_with(obtained.0.id(), needed) {
            return self.obtain(TokenRequirement::New).await;
        }
        Ok(obtained)
    }

    /// Another token than the one that the next step's endpoint has rejected, if there is one to be had.
    pub(crate) async fn renew_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        let renewed = self.told(async {
            match self.manager.get_token_instead_of(rejected).await? {
                Some(renewed) => self.alive_or_newer(renewed).await.map(Some),
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
        self.call.means().longest_fetch
    }

    /// Whether it is fetched by another fetcher than when it failed last.
    pub(crate) async fn has_new_credentials(&self) -> bool {
        self.call.has_new_credentials().await
    }

    /// Forgets a token, if it still is this one.
    pub(crate) async fn discard(&self, credential: &Credential) {
        self.manager.discard_token(credential.id()).await;
    }

    /// Forgets the token, whichever it is.
    pub(crate) async fn invalidate(&self) -> Result<(), AuthenticationError> {
        let invalidated = self.manager.invalidate_token().await;
        invalidated.map_err(|error| error.or_step(&self.call.pipeline, self.name()))
    }

    /// This token, or a newer one where its dependencies have changed since it was obtained.
    async fn alive_or_newer(&self, mut obtained: Obtained) -> Result<Obtained, AuthenticationError> {
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
        self.is_alive_among(token, &mut Looked::new()).await
    }

    async fn is_alive_among(&self, token: &TokenData, looked: &mut Looked) -> bool {
        let means = self.call.means();
        if !means.fetcher.dies_with_dependencies() {
            return true;
        }
        let note = Note::of(token);
        for dependency in &means.dependencies {
            let current = dependency.look(looked).await;
            if !current.is_some_and(|current| note.was_obtained_with(dependency.name(), current)) {
                return false;
            }
        }
        true
    }

    /// The identity of what [`find`](Self::find) brings, if that is not known yet.
    fn look<'a>(&'a self, looked: &'a mut Looked) -> BoxFuture<'a, Option<TokenId>> {
        if let Some(known) = looked.get(&self.call.key) {
            return std::future::ready(*known).boxed();
        }
        async move {
            let found = match self.manager.find_token().await {
                Some(found) if self.is_alive_among(found.token(), looked).await => Some(found.id()),
                _ => None,
            };
            looked.insert(self.call.key.clone(), found);
            found
        }
        .boxed()
    }

    async fn told<T: Outcome>(
        &self,
        work: impl Future<Output = Result<T, AuthenticationError>>,
    ) -> Result<T, AuthenticationError> {
        let span = tracing::info_span!(
            "token_step",
            pipeline = self.call.pipeline,
            step = self.call.name,
            outcome = tracing::field::Empty,
            duration = tracing::field::Empty,
        );
        let result = traced(span, work).await;
        result.map_err(|error| error.or_step(&self.call.pipeline, self.name()))
    }
}

/// The token as its fetcher brought it, without what we wrote beside it.
pub(crate) fn as_fetched(token: &TokenData) -> TokenData {
    note::removed(token)
}
