use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, CacheKey, CachingProvider, ConfigError, IntoTokenSource, TokenData, TokenProvider,
    TokenRequirement, TokenSource, async_trait,
};
use forge_token::TokenManager;

use crate::TokenFetchPipeline;

/// A pipeline as the provider of a [`TokenManager`]. The manager renews the token ahead of its expiry, renews it after
/// a 401 of the API, and takes the lease if several processes share a storage.
///
/// The reason of the manager decides which steps the pipeline fetches:
///
/// | reason | steps that are fetched |
/// | --- | --- |
/// | the manager has no token | those whose tokens are missing |
/// | the token expires soon | the last step, and those that it needs and whose tokens are missing |
/// | the API rejected the token | the step of [`refresh_from_step`](Self::refresh_from_step) and all that depend on it, or every step; none if another caller has renewed the token meanwhile |
/// | [`force_refresh`](TokenManager::force_refresh) | every step |
///
/// [`invalidate_token`](TokenManager::invalidate_token) of the manager invalidates the same steps as a 401. The manager
/// waits as long as the time-outs of the steps allow, including a second call of each step after a 401. A
/// [`fetch_timeout`](forge_token::TokenManagerBuilder::fetch_timeout) takes the place of that limit.
///
/// The manager keeps a copy of the token of the last step, and uses it until it expires. If that token [dies with its
/// dependencies](forge_core::TokenFetcher::dies_with_dependencies), the manager learns of it when it asks the pipeline
/// next.
///
/// ```
/// use requestforge::{PipelineTokenProvider, TokenFetchPipeline, TokenManager};
///
/// # fn run(pipeline: TokenFetchPipeline) -> Result<(), requestforge::ConfigError> {
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
    /// A provider of the pipeline's token, for the service with this name.
    #[must_use]
    pub fn new(pipeline: TokenFetchPipeline, service_name: impl Into<String>) -> Self {
        Self { pipeline, service_name: service_name.into(), refresh_from: None }
    }

    /// After a 401 of the API, the provider renews this step and all steps that depend on it. Default: every step.
    ///
    /// # Errors
    ///
    /// No step has this name.
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

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        self.fetch_token_for(TokenRequirement::OtherThan(current.id())).await
    }

    async fn has_new_secrets(&self) -> bool {
        self.pipeline.has_new_secrets().await
    }

    fn caching(&self) -> Option<&dyn CachingProvider> {
        Some(self)
    }
}

#[async_trait]
impl CachingProvider for PipelineTokenProvider {
    /// The token of the last step, without its refresh token: the manager must not send that, because the pipeline
    /// decides how to renew.
    async fn fetch_token_for(&self, requirement: TokenRequirement) -> Result<TokenData, AuthenticationError> {
        let token = self.pipeline.obtain(requirement, self.refresh_from).await;
        token.map(TokenData::without_refresh_token).map_err(|error| error.or_service_name(&self.service_name))
    }

    async fn forget_token(&self) -> Result<(), AuthenticationError> {
        let forgotten = match self.refresh_from {
            Some(step) => self.pipeline.invalidate_from(step).await,
            None => self.pipeline.invalidate_all().await,
        };
        forgotten.map_err(|error| error.or_service_name(&self.service_name))
    }

    fn max_fetch_duration(&self) -> Option<Duration> {
        Some(self.pipeline.longest_fetch())
    }
}

/// Makes a [`TokenManager`] that keeps the token in this process.
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
