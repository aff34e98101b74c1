use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, CacheKey, ConfigError, IntoTokenSource, TokenData, TokenProvider, TokenRequirement,
    TokenSource, async_trait,
};
use forge_token::TokenManager;

use crate::TokenFetchPipeline;

/// A pipeline as a provider, for a [`TokenManager`]: that one renews ahead of
/// expiry, knows what to do about a 401 of the API, and takes the lease where several processes share a
/// storage.
///
/// What the manager wants decides what is fetched:
///
/// | why | what is fetched |
/// | --- | --- |
/// | there is no token | what the pipeline lacks |
/// | the token expires soon | the last step, and what that lacks |
/// | the API rejected the token | the step that [`refresh_from_step`](Self::refresh_from_step) names and all that depend on it, or everything; nothing, if somebody has renewed it meanwhile |
/// | [`force_refresh`](TokenManager::force_refresh) | everything |
///
/// [`invalidate_token`](TokenManager::invalidate_token) of the manager invalidates the same steps
/// as a 401. The manager waits as long as the time-outs of the steps allow, with a second call of each after a
/// 401, unless it is given a [`fetch_timeout`](forge_token::TokenManagerBuilder::fetch_timeout).
///
/// The manager keeps a copy of the last step's token, and uses it as long as that says it is valid; what
/// [dies with its dependencies](forge_core::TokenFetcher::dies_with_dependencies) is noticed when the pipeline
/// is asked next.
///
/// ```
/// use forge_pipeline::{PipelineTokenProvider, TokenFetchPipeline};
/// use forge_token::TokenManager;
///
/// # fn run(pipeline: TokenFetchPipeline) -> Result<(), forge_core::ConfigError> {
/// let provider = PipelineTokenProvider::new(pipeline, "myapp").refresh_from_step("user_token")?;
/// let manager = TokenManager::new(provider);
/// # drop(manager);
/// # Ok(())
/// # }
/// ```
pub struct PipelineTokenProvider {
    pipeline: TokenFetchPipeline,
    service_name: String,
    refresh_from: Option<usize>,
}

impl PipelineTokenProvider {
    /// A provider of the pipeline's token, for the service of this name.
    #[must_use]
    pub fn new(pipeline: TokenFetchPipeline, service_name: impl Into<String>) -> Self {
        Self { pipeline, service_name: service_name.into(), refresh_from: None }
    }

    /// The step from which on tokens are renewed when the API rejects the last one's. Default: all of them.
    ///
    /// # Errors
    ///
    /// There is no such step.
    pub fn refresh_from_step(self, name: &str) -> Result<Self, ConfigError> {
        let Some(step) = self.pipeline.index_of(name) else {
            let expected = format!("the name of a step; {}", self.pipeline.unknown_step_message(name));
            return Err(ConfigError::new("refresh_from_step", expected));
        };
        Ok(Self { refresh_from: Some(step), ..self })
    }

    /// The pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &TokenFetchPipeline {
        &self.pipeline
    }
}

#[async_trait]
impl TokenProvider for PipelineTokenProvider {
    fn service_name(&self) -> &str {
        &self.service_name
    }

    fn cache_key(&self) -> String {
        let key = CacheKey::new(&self.service_name).part("pipeline", self.pipeline.cache_key_prefix());
        self.pipeline.step_names().into_iter().fold(key, |key, step| key.part("step", step)).to_string()
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        self.fetch_token_for(TokenRequirement::Valid).await
    }

    /// Without a refresh token: what it renews is up to the pipeline, not to a manager.
    async fn fetch_token_for(&self, requirement: TokenRequirement) -> Result<TokenData, AuthenticationError> {
        let token = self.pipeline.obtain(requirement, self.refresh_from).await;
        token.map(TokenData::without_refresh_token).map_err(|error| error.or_service_name(&self.service_name))
    }

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        self.fetch_token_for(TokenRequirement::OtherThan(current.id())).await
    }

    fn longest_fetch(&self) -> Option<Duration> {
        Some(self.pipeline.longest_fetch())
    }

    async fn has_new_credentials(&self) -> bool {
        self.pipeline.has_new_credentials().await
    }

    async fn forget_token(&self) -> Result<(), AuthenticationError> {
        let forgotten = match self.refresh_from {
            Some(step) => self.pipeline.invalidate_from(step).await,
            None => self.pipeline.invalidate_all().await,
        };
        forgotten.map_err(|error| error.or_service_name(&self.service_name))
    }
}

/// By a [`TokenManager`] that keeps the token in the process.
impl IntoTokenSource for PipelineTokenProvider {
    fn into_token_source(self) -> Arc<dyn TokenSource> {
        Arc::new(TokenManager::new(self))
    }
}

impl fmt::Debug for PipelineTokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineTokenProvider")
            .field("service_name", &self.service_name)
            .field("pipeline", &self.pipeline)
            .finish_non_exhaustive()
    }
}
