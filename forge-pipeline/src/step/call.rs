use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, Credential, FetchContext, TokenData, TokenFetcher,
    TokenId, TokenProvider, TokenRequirement, async_trait,
};
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use http::StatusCode;

use super::Step;
use super::note::{self, Note};

/// How a step gets its token. This is what the step's manager takes for a provider.
pub(super) struct StepCall {
    pub(super) pipeline: String,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) clock: Arc<dyn Clock>,
    means: Mutex<Arc<Means>>,
    /// Those with which it failed last.
    failed: Mutex<Option<Arc<Means>>>,
    /// Its last token, and those of the dependencies with which it was obtained.
    obtained: Mutex<Option<(TokenId, Vec<TokenId>)>>,
}

/// A fetcher, and the steps whose tokens it needs.
pub(super) struct Means {
    pub(super) fetcher: Arc<dyn TokenFetcher>,
    pub(super) dependencies: Vec<Arc<Step>>,
    /// How long a fetch takes at most, with all that it needs.
    pub(super) longest_fetch: Duration,
}

/// The tokens of the dependencies, in their order.
type Used = Vec<Arc<Credential>>;

#[async_trait]
impl TokenProvider for StepCall {
    fn service_name(&self) -> &str {
        &self.key
    }

    fn cache_key(&self) -> String {
        self.key.clone()
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let means = self.means();
        let fetched = self.fetch_by(&means).await;
        if fetched.is_err() {
            *lock(&self.failed) = Some(means);
        }
        fetched
    }

    fn longest_fetch(&self) -> Option<Duration> {
        Some(self.means().longest_fetch)
    }

    async fn has_new_credentials(&self) -> bool {
        let failed = lock(&self.failed);
        failed.as_ref().is_some_and(|failed| !Arc::ptr_eq(failed, &self.means()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StepCall {
    pub(super) fn new(pipeline: &str, name: &str, key: &str, clock: Arc<dyn Clock>, means: Means) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
            clock,
            means: Mutex::new(Arc::new(means)),
            failed: Mutex::new(None),
            obtained: Mutex::new(None),
        }
    }

    pub(super) fn means(&self) -> Arc<Means> {
        Arc::clone(&lock(&self.means))
    }

    /// From now on it is fetched by these.
    pub(super) fn take_over(&self, means: Means) {
        *lock(&self.means) = Arc::new(means);
    }

    /// Whether the token is the last one, and was obtained with all of these.
    pub(super) fn was_obtained_with(&self, token: TokenId, needed: &[TokenId]) -> bool {
        let obtained = lock(&self.obtained);
        let last = obtained.as_ref().filter(|(last, _)| *last == token);
        last.is_some_and(|(_, used)| needed.iter().all(|needed| used.contains(needed)))
    }

    async fn fetch_by(&self, means: &Means) -> Result<TokenData, AuthenticationError> {
        let used = means.tokens_needed().await?;
        let first = self.fetch(means, &used).await;
        let (result, used) = match first {
            Err(error) if is_rejection(&error) => match means.renewed(&used).await {
                Ok(Some(renewed)) => (self.fetch(means, &renewed).await, renewed),
                Ok(None) => (Err(error), used),
                // They cannot be renewed now: that is why there is no token.
                Err(cause) => {
                    self.tell(means, error, &used);
                    return Err(cause);
                }
            },
            result => (result, used),
        };
        match result {
            Ok(token) => {
                for credential in &used {
                    credential.mark_accepted();
                }
                let used = used.iter().map(|credential| credential.id()).collect();
                *lock(&self.obtained) = Some((token.id(), used));
                Ok(token)
            }
            Err(error) => Err(self.tell(means, error, &used)),
        }
    }

    /// One call of the fetcher, within its time-out. Whatever it does, this returns.
    async fn fetch(&self, means: &Means, used: &Used) -> Result<TokenData, AuthenticationError> {
        let context = self.context(means, used);
        let begun = self.clock.now().wall();
        let limit = means.fetcher.timeout();
        let call = AssertUnwindSafe(async { means.fetcher.fetch(&context).await }).catch_unwind();
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(fetched)) => fetched.map(|token| means.noted(means.with_own_life(token, begun), used)),
            // What it panicked with may be a secret.
            Ok(Err(_payload)) => Err(AuthenticationError::new("", AuthenticationErrorKind::Panicked)),
            Err(_elapsed) => Err(AuthenticationError::new("", AuthenticationErrorKind::Timeout)
                .with_message(format!("the step took longer than {limit:?}"))),
        }
    }

    fn context(&self, means: &Means, used: &Used) -> FetchContext {
        let context = FetchContext::new().with_clock(Arc::clone(&self.clock));
        means.dependencies.iter().zip(used).fold(context, |context, (step, credential)| {
            context.with_token(step.name(), note::removed(credential.token()))
        })
    }

    /// Tells the fetcher of its failure, which is named after the step.
    fn tell(&self, means: &Means, error: AuthenticationError, used: &Used) -> AuthenticationError {
        let told = error.clone().or_step(&self.pipeline, &self.name);
        let context = self.context(means, used);
        let telling = AssertUnwindSafe(|| means.fetcher.on_fetch_error(&told, &context));
        // A panic there must not take the place of what went wrong.
        if catch_unwind(telling).is_err() {
            tracing::warn!(
                pipeline = self.pipeline,
                step = self.name,
                "a step panicked when told of its failure"
            );
        }
        error
    }
}

impl Means {
    pub(super) fn new(fetcher: Arc<dyn TokenFetcher>, dependencies: Vec<Arc<Step>>) -> Self {
        // The call, and once more after a 401.
        let own = fetcher.timeout().saturating_mul(2);
        let before = dependencies.iter().map(|step| step.longest_fetch()).max().unwrap_or_default();
        Self { fetcher, dependencies, longest_fetch: own.saturating_add(before) }
    }

    async fn tokens_needed(&self) -> Result<Used, AuthenticationError> {
        let tokens = self.dependencies.iter().map(|step| step.obtain(TokenRequirement::Valid));
        Ok(try_join_all(tokens).await?.into_iter().map(|(credential, _)| credential).collect())
    }

    /// The tokens that the endpoint has rejected, each with another one in its place where there is one;
    /// `None`: there is not one.
    async fn renewed(&self, rejected: &Used) -> Result<Option<Used>, AuthenticationError> {
        let renewals = self.dependencies.iter().zip(rejected).map(|(step, used)| step.renew_rejected(used));
        let renewals = join_all(renewals).await;
        if renewals.iter().any(|renewal| matches!(renewal, Ok(Some(_)))) {
            let or_same = |(renewal, used): (Result<Option<_>, _>, &Arc<_>)| {
                renewal.ok().flatten().unwrap_or_else(|| Arc::clone(used))
            };
            return Ok(Some(renewals.into_iter().zip(rejected).map(or_same).collect()));
        }
        renewals.into_iter().find(Result::is_err).unwrap_or(Ok(None)).map(|_| None)
    }

    fn with_own_life(&self, token: TokenData, begun: DateTime<Utc>) -> TokenData {
        match self.fetcher.ttl() {
            Some(ttl) => token.with_lifetime_from(ttl, begun),
            None => token,
        }
    }

    /// The token as it is stored: with the tokens that it dies with, if it does, and no longer than they.
    fn noted(&self, token: TokenData, used: &Used) -> TokenData {
        if !self.fetcher.dies_with_dependencies() {
            return Note::default().beside(token);
        }
        let steps = self.dependencies.iter().map(|step| step.name());
        let note = Note::obtained_with(steps.zip(used.iter().map(|credential| credential.id())));
        let expiries = used.iter().filter_map(|credential| credential.expires_at());
        let first = expiries.chain(token.expires_at()).min();
        let token = note.beside(token);
        first.map_or(token.clone(), |first| token.with_expires_at(first))
    }
}

/// Whether the endpoint may have refused the tokens that it was shown.
fn is_rejection(error: &AuthenticationError) -> bool {
    error.status() == Some(StatusCode::UNAUTHORIZED)
}
