use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, Credential, Demand, FetchContext, TokenData,
    TokenFetcher, TokenProvider, async_trait,
};
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use http::StatusCode;

use super::Step;
use super::note::{self, Note};

/// How a step gets its token: its fetcher, with the tokens of the steps that it needs. This is what the
/// step's manager takes for a provider.
pub(super) struct StepCall {
    pub(super) pipeline: String,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) fetcher: Arc<dyn TokenFetcher>,
    pub(super) dependencies: Vec<Arc<Step>>,
    pub(super) clock: Arc<dyn Clock>,
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
        let used = self.tokens_needed().await?;
        let first = self.fetch(&used).await;
        let (result, used) = match first {
            Err(error) if is_rejection(&error) => match self.renewed(&used).await {
                Ok(Some(renewed)) => (self.fetch(&renewed).await, renewed),
                Ok(None) => (Err(error), used),
                // They cannot be renewed now: that is why there is no token.
                Err(cause) => {
                    self.tell(error, &used);
                    return Err(cause);
                }
            },
            result => (result, used),
        };
        match result {
            Ok(token) => {
                used.iter().for_each(|credential| credential.mark_accepted());
                Ok(token)
            }
            Err(error) => Err(self.tell(error, &used)),
        }
    }
}

impl StepCall {
    async fn tokens_needed(&self) -> Result<Used, AuthenticationError> {
        let tokens = self.dependencies.iter().map(|step| step.obtain(Demand::Valid));
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

    /// One call of the fetcher, within its time-out. Whatever it does, this returns.
    async fn fetch(&self, used: &Used) -> Result<TokenData, AuthenticationError> {
        let context = self.context(used);
        let begun = self.clock.now().wall();
        let limit = self.fetcher.timeout();
        let call = AssertUnwindSafe(async { self.fetcher.fetch(&context).await }).catch_unwind();
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(fetched)) => fetched.map(|token| self.noted(self.with_own_life(token, begun), used)),
            // What it panicked with may be a secret.
            Ok(Err(_payload)) => Err(AuthenticationError::new("", AuthenticationErrorKind::Panicked)),
            Err(_elapsed) => Err(AuthenticationError::new("", AuthenticationErrorKind::Timeout)
                .with_message(format!("the step took longer than {limit:?}"))),
        }
    }

    fn context(&self, used: &Used) -> FetchContext {
        let context = FetchContext::new().with_clock(Arc::clone(&self.clock));
        self.dependencies.iter().zip(used).fold(context, |context, (step, credential)| {
            context.with_token(step.name(), note::removed(credential.token()))
        })
    }

    fn with_own_life(&self, token: TokenData, begun: DateTime<Utc>) -> TokenData {
        let Some(ttl) = self.fetcher.ttl() else { return token };
        let expires_at = TimeDelta::from_std(ttl).ok().and_then(|ttl| begun.checked_add_signed(ttl));
        token.with_issued_at(begun).with_expires_at(expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC))
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

    /// Tells the fetcher of its failure, which is named after the step.
    fn tell(&self, error: AuthenticationError, used: &Used) -> AuthenticationError {
        let told = error.clone().or_step(&self.pipeline, &self.name);
        self.fetcher.on_fetch_error(&told, &self.context(used));
        error
    }
}

/// Whether the endpoint may have refused the tokens that it was shown.
fn is_rejection(error: &AuthenticationError) -> bool {
    error.status() == Some(StatusCode::UNAUTHORIZED)
}
