use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use forge_core::{
    AuthenticationError, AuthenticationErrorKind, CachingProvider, Clock, Credential, FetchContext,
    TokenData, TokenFetcher, TokenId, TokenProvider, TokenRequirement, async_trait,
};
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use http::StatusCode;

use super::metadata::{self, StepMetadata};
use super::{PipelineContext, Step};

/// The provider of a step's manager. It gets the tokens of the dependencies, and then calls the step's fetcher.
pub(super) struct StepProvider {
    pub(super) pipeline: String,
    pub(super) name: String,
    pub(super) key: String,
    clock: Arc<dyn Clock>,
    /// The steps whose tokens the fetcher needs. They stay the same: a pipeline with other dependencies builds
    /// another step.
    pub(super) dependencies: Vec<Arc<Step>>,
    definition: Mutex<Arc<StepDefinition>>,
    /// The definition with which a fetch failed last.
    failed_definition: Mutex<Option<Arc<StepDefinition>>>,
    /// The token that was fetched last, and the tokens of the dependencies that it was obtained with.
    last_obtained: Mutex<Option<(TokenId, Vec<TokenId>)>>,
}

/// How a step is fetched, until a pipeline that is built later replaces it.
pub(super) struct StepDefinition {
    pub(super) fetcher: Arc<dyn TokenFetcher>,
    /// The longest time that a fetch can take, with the fetches of the dependencies before it.
    pub(super) longest_fetch: Duration,
}

/// The tokens of the dependencies, in the order of the dependencies.
type DependencyTokens = Vec<Arc<Credential>>;

#[async_trait]
impl TokenProvider for StepProvider {
    fn service_name(&self) -> &str {
        &self.key
    }

    fn cache_key(&self) -> String {
        self.key.clone()
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let definition = self.definition();
        let fetched = self.fetch_with_renewal(&definition).await;
        if fetched.is_err() {
            *lock(&self.failed_definition) = Some(definition);
        }
        fetched
    }

    async fn has_new_secrets(&self) -> bool {
        let failed = lock(&self.failed_definition);
        failed.as_ref().is_some_and(|failed| !Arc::ptr_eq(failed, &self.definition()))
    }

    fn caching(&self) -> Option<&dyn CachingProvider> {
        Some(self)
    }
}

/// A step keeps no token itself, but waits for the managers of its dependencies.
impl CachingProvider for StepProvider {
    fn max_fetch_duration(&self) -> Option<Duration> {
        Some(self.definition().longest_fetch)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StepProvider {
    pub(super) fn new(
        name: &str,
        fetcher: Arc<dyn TokenFetcher>,
        dependencies: Vec<Arc<Step>>,
        context: &PipelineContext,
    ) -> Self {
        Self {
            pipeline: context.pipeline.clone(),
            name: name.to_owned(),
            key: context.cache_key(name),
            clock: Arc::clone(&context.clock),
            definition: Mutex::new(Arc::new(StepDefinition::new(fetcher, &dependencies))),
            dependencies,
            failed_definition: Mutex::new(None),
            last_obtained: Mutex::new(None),
        }
    }

    pub(super) fn definition(&self) -> Arc<StepDefinition> {
        Arc::clone(&lock(&self.definition))
    }

    pub(super) fn replace_fetcher(&self, fetcher: Arc<dyn TokenFetcher>) {
        *lock(&self.definition) = Arc::new(StepDefinition::new(fetcher, &self.dependencies));
    }

    /// Whether this token was fetched last, and was obtained with all of these tokens.
    pub(super) fn was_obtained_with(&self, token: TokenId, needed: &[TokenId]) -> bool {
        let last_obtained = lock(&self.last_obtained);
        let last = last_obtained.as_ref().filter(|(last, _)| *last == token);
        last.is_some_and(|(_, used)| needed.iter().all(|needed| used.contains(needed)))
    }

    /// Calls the fetcher. After a 401 it renews the tokens of the dependencies and calls the fetcher once more.
    async fn fetch_with_renewal(
        &self,
        definition: &StepDefinition,
    ) -> Result<TokenData, AuthenticationError> {
        let tokens = self.tokens_needed().await?;
        let (result, tokens) = match self.fetch(definition, &tokens).await {
            Err(error) if is_rejection(&error) => match self.renew_rejected(&tokens).await {
                Ok(Some(renewed)) => (self.fetch(definition, &renewed).await, renewed),
                Ok(None) => (Err(error), tokens),
                // The renewal failed. Its error is the reason why there is no token, and it may be transient, so the
                // caller gets it in place of the 401.
                Err(cause) => {
                    self.report_failure(definition, error, &tokens);
                    return Err(cause);
                }
            },
            result => (result, tokens),
        };
        match result {
            Ok(token) => {
                for credential in &tokens {
                    credential.mark_accepted();
                }
                let used = tokens.iter().map(|credential| credential.id()).collect();
                *lock(&self.last_obtained) = Some((token.id(), used));
                Ok(token)
            }
            Err(error) => Err(self.report_failure(definition, error, &tokens)),
        }
    }

    /// Calls the fetcher once, within its time-out. A panic of the fetcher becomes an error.
    async fn fetch(
        &self,
        definition: &StepDefinition,
        tokens: &DependencyTokens,
    ) -> Result<TokenData, AuthenticationError> {
        let context = self.context(tokens);
        let begun = self.clock.now().wall();
        let limit = definition.fetcher.timeout();
        let call = AssertUnwindSafe(async { definition.fetcher.fetch(&context).await }).catch_unwind();
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(fetched)) => {
                let token = definition.with_own_ttl(fetched?, begun);
                Ok(if definition.fetcher.dies_with_dependencies() {
                    self.bound_to_dependencies(token, tokens)
                } else {
                    StepMetadata::default().attach_to(token)
                })
            }
            // The payload of a panic may contain a secret.
            Ok(Err(_payload)) => Err(AuthenticationError::new("", AuthenticationErrorKind::Panicked)),
            Err(_elapsed) => Err(AuthenticationError::new("", AuthenticationErrorKind::Timeout)
                .with_message(format!("the step took longer than {limit:?}"))),
        }
    }

    async fn tokens_needed(&self) -> Result<DependencyTokens, AuthenticationError> {
        let tokens = self.dependencies.iter().map(|step| step.obtain(TokenRequirement::Valid));
        Ok(try_join_all(tokens).await?.into_iter().map(|(credential, _)| credential).collect())
    }

    /// The tokens of the dependencies after an endpoint has rejected them. A dependency that cannot get another token
    /// keeps its token. `None` if no dependency can get another one.
    async fn renew_rejected(
        &self,
        rejected: &DependencyTokens,
    ) -> Result<Option<DependencyTokens>, AuthenticationError> {
        let renewals = self.dependencies.iter().zip(rejected).map(|(step, token)| step.renew_rejected(token));
        let renewals = join_all(renewals).await;
        if renewals.iter().any(|renewal| matches!(renewal, Ok(Some(_)))) {
            let or_same = |(renewal, token): (Result<Option<_>, _>, &Arc<_>)| {
                renewal.ok().flatten().unwrap_or_else(|| Arc::clone(token))
            };
            return Ok(Some(renewals.into_iter().zip(rejected).map(or_same).collect()));
        }
        renewals.into_iter().find(Result::is_err).unwrap_or(Ok(None)).map(|_| None)
    }

    /// The token with the identities of the tokens that it dies with, and no longer valid than they are.
    fn bound_to_dependencies(&self, token: TokenData, tokens: &DependencyTokens) -> TokenData {
        let steps = self.dependencies.iter().map(|step| step.name());
        let metadata =
            StepMetadata::obtained_with(steps.zip(tokens.iter().map(|credential| credential.id())));
        let expiries = tokens.iter().filter_map(|credential| credential.expires_at());
        let first = expiries.chain(token.expires_at()).min();
        let token = metadata.attach_to(token);
        match first {
            Some(first) => token.with_expires_at(first),
            None => token,
        }
    }

    fn context(&self, tokens: &DependencyTokens) -> FetchContext {
        let context = FetchContext::new().with_clock(Arc::clone(&self.clock));
        self.dependencies.iter().zip(tokens).fold(context, |context, (step, credential)| {
            context.with_token(step.name(), metadata::remove_from(credential.token()))
        })
    }

    /// Reports the failure to the fetcher, with the names of the pipeline and the step.
    fn report_failure(
        &self,
        definition: &StepDefinition,
        error: AuthenticationError,
        tokens: &DependencyTokens,
    ) -> AuthenticationError {
        let named = error.clone().or_step(&self.pipeline, &self.name);
        let context = self.context(tokens);
        let report = AssertUnwindSafe(|| definition.fetcher.on_fetch_error(&named, &context));
        // A panic of the fetcher must not replace the error that it is called with.
        if catch_unwind(report).is_err() {
            tracing::warn!(
                pipeline = self.pipeline,
                step = self.name,
                "`on_fetch_error` of a step panicked; the pipeline goes on with the error of the fetch"
            );
        }
        error
    }
}

impl StepDefinition {
    fn new(fetcher: Arc<dyn TokenFetcher>, dependencies: &[Arc<Step>]) -> Self {
        // One call, and one more after a 401.
        let own = fetcher.timeout().saturating_mul(2);
        let before = dependencies.iter().map(|step| step.longest_fetch()).max().unwrap_or_default();
        Self { fetcher, longest_fetch: own.saturating_add(before) }
    }

    fn with_own_ttl(&self, token: TokenData, begun: DateTime<Utc>) -> TokenData {
        match self.fetcher.ttl() {
            Some(ttl) => token.with_lifetime_from(ttl, begun),
            None => token,
        }
    }
}

/// Whether the endpoint may have rejected the tokens of the dependencies.
fn is_rejection(error: &AuthenticationError) -> bool {
    error.status() == Some(StatusCode::UNAUTHORIZED)
}
