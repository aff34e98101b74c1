//! A step: a fetcher, and the manager that keeps its token.

mod call;
mod note;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, Clock, ConfigError, Credential, Demand, Generation, TokenData, TokenFetcher,
    TokenProvider, TokenStorage,
};
use forge_token::TokenManager;
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
    /// How long it takes at most, with all that it needs.
    budget: Duration,
    _generation: Option<Generation>,
}

/// What steps of one pipeline have in common.
pub(crate) struct Surroundings {
    pub(crate) pipeline: String,
    pub(crate) storage: Option<Arc<dyn TokenStorage>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How often a token is fetched anew because its dependencies have changed meanwhile.
const MOST_REPETITIONS: usize = 2;

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
            // The fetch, and once more after a 401.
            let own = means.fetcher.timeout().saturating_mul(2);
            let before = means.dependencies.iter().map(|step| step.budget).max().unwrap_or_default();
            let budget = own.saturating_add(before);
            let clock = Arc::clone(&around.clock);
            let call = Arc::new(StepCall::new(&around.pipeline, name, &key, clock, means));
            let mut manager = TokenManager::builder(Arc::clone(&call))
                .clock(Arc::clone(&around.clock))
                .fetch_timeout(budget)
                // Renewed when it is needed: whoever needs it ahead of time has a window of its own.
                .advisory_window(Duration::ZERO);
            if let Some(storage) = &around.storage {
                manager = manager.storage(StepStorage(Arc::clone(storage)));
            }
            Ok(Self { call, manager: manager.build()?, budget, _generation: generation.clone() })
        };
        let means = Means { fetcher, dependencies };
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
    pub(crate) async fn obtain(&self, demand: Demand) -> Result<Obtained, AuthenticationError> {
        self.told(async {
            let mut obtained = self.manager.get_token_for(demand).await?;
            for _ in 0..MOST_REPETITIONS {
                if self.is_alive(obtained.0.token()).await {
                    break;
                }
                obtained = self.manager.get_token_for(Demand::NewerThan(obtained.0.id())).await?;
            }
            Ok(obtained)
        })
        .await
    }

    /// Another token than the one that the next step's endpoint has rejected, if there is one to be had.
    pub(crate) async fn renew_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        let renewed = self.told(self.manager.get_token_instead_of(rejected)).await?;
        let Some((renewed, _)) = renewed else { return Ok(None) };
        if self.is_alive(renewed.token()).await {
            return Ok(Some(renewed));
        }
        Ok(Some(self.obtain(Demand::NewerThan(renewed.id())).await?.0))
    }

    /// The valid token that is cached, if there is one.
    pub(crate) async fn find(&self) -> Option<Arc<Credential>> {
        let found = self.manager.find_token().await?;
        self.is_alive(found.token()).await.then_some(found)
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

    /// Whether the tokens with which this one was obtained still are those of today, where it dies with
    /// them. Fetches nothing.
    fn is_alive<'a>(&'a self, token: &'a TokenData) -> BoxFuture<'a, bool> {
        let means = self.call.means();
        if !means.fetcher.dies_with_dependencies() {
            return std::future::ready(true).boxed();
        }
        async move {
            let note = Note::of(token);
            for dependency in &means.dependencies {
                let current = dependency.find().await;
                if !current.is_some_and(|current| note.was_obtained_with(dependency.name(), current.id())) {
                    return false;
                }
            }
            true
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
