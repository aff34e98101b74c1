#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

pub mod auth;
#[cfg(feature = "client")]
pub mod breaker;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "config")]
pub mod config;
#[cfg(feature = "client")]
pub mod hooks;
#[cfg(feature = "middleware")]
pub mod middleware;
pub mod oauth2;
#[cfg(feature = "pipeline")]
pub mod pipeline;
pub mod retry;
pub mod storage;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod token;
#[cfg(feature = "tower")]
pub mod tower;

#[cfg(feature = "blocking")]
pub use forge_client::blocking;

// The crates whose types the API shows, in the versions that the API uses.
#[cfg(feature = "storage-redis")]
pub use forge_storage_redis::redis;
pub use forge_token::reqwest;
pub use {forge_core::chrono, forge_core::http};

pub use forge_core::{
    AuthenticationError, AuthenticationErrorKind, CacheKey, ConfigError, Credential, FetchContext, Secret,
    SecretSource, StaticTokenSource, StorageError, TokenData, TokenFetcher, TokenProvider, TokenSource,
    TokenStorage, async_trait, token_source_fn,
};
pub use forge_token::{AuthMethod, ClientCredentialsTokenProvider, PasswordGrantTokenProvider, TokenManager};

#[cfg(feature = "storage-memory")]
pub use forge_storage_memory::InMemoryTokenStorage;

#[cfg(feature = "storage-redis")]
pub use forge_storage_redis::RedisTokenStorage;

#[cfg(feature = "encryption")]
pub use forge_storage_encrypted::{EncryptedTokenStorage, EncryptionKey};

#[cfg(feature = "pipeline")]
pub use forge_pipeline::{
    BodyTokenFetcher, ContentType, HeaderTokenFetcher, PipelineTokenProvider, TokenFetchPipeline,
};

#[cfg(feature = "config")]
pub use forge_config::{FromEnv, ServiceConfig, Services};

#[cfg(feature = "client")]
pub use forge_client::{
    ApiKeyAuth, BasicAuth, CircuitBreaker, CircuitBreakerRetryStrategy, CompositeAuth,
    ConditionalAuthRetryStrategy, CorrelationId, ExponentialAuthRetryStrategy,
    ExponentialBackoffRetryStrategy, HttpClient, HttpClientConfig, HttpClientConfigBuilder, HttpClientError,
    HttpResponse, Logging, NoRetryStrategy, RateLimitReader, SimpleAuthRetryStrategy, SimpleRetryStrategy,
    TokenAuth,
};

/// The former names of what has been renamed, until the first release.
mod renamed {
    #[cfg(feature = "tower")]
    pub use forge_client::renamed::*;
    pub use forge_core::renamed::*;
    #[cfg(feature = "pipeline")]
    pub use forge_pipeline::renamed::*;
    pub use forge_token::renamed::*;
}
#[doc(hidden)]
pub use renamed::*;

#[cfg(doctest)]
#[doc = include_str!("../MIGRATING.md")]
struct Migrating;
