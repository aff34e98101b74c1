#![doc = include_str!("../README.md")]

pub use forge_core::{
    AuthVerdict, AuthenticationError, AuthenticationErrorKind, CacheKey, Clock, ClockReading,
    CompareAndDelete, ConfigError, CoolDown, CoolDownPolicy, Credential, ExchangeError, FetchContext,
    Generation, GenerationId, GenerationStamp, Generations, IntoTokenSource, InvalidTokenRecord,
    InvalidTokenResponse, LeaseOutcome, LeaseRead, MarkTakeover, OAuthErrorCode, RefreshMark, ResponseFields,
    Secret, SecretSource, StalenessLimits, StaticTokenSource, StorageError, SystemClock, TimeFormat,
    TokenData, TokenFetcher, TokenId, TokenLease, TokenLeases, TokenProvider, TokenRequirement, TokenSource,
    TokenStorage, async_trait, contains_secret, looks_like_credential_name, retry_after, token_source_fn,
};
#[cfg(feature = "test-util")]
pub use forge_core::{ManualClock, storage_conformance};

pub use forge_token::{
    AuthMethod, ClientCredentials, ClientCredentialsTokenProvider, Grant, HttpTransport, OAuth2TokenProvider,
    OAuth2TokenProviderBuilder, Password, PasswordGrantTokenProvider, TokenAttempt, TokenConnection,
    TokenEndpoint, TokenManager, TokenManagerBuilder, TokenProvenance, TokenRequest, TokenResponse,
    TokenStatus, TokenTransport, call_repeatably, reqwest,
};

#[cfg(feature = "storage-memory")]
pub use forge_storage_memory::{InMemoryTokenStorage, InMemoryTokenStorageBuilder};

#[cfg(feature = "pipeline")]
pub use forge_pipeline::{
    Body, BodyTokenFetcher, ContentType, Header, HeaderTokenFetcher, HttpMethod, HttpTokenFetcher,
    HttpTokenFetcherBuilder, PipelineTokenProvider, RequestValue, SharedSteps, TokenFetchPipeline,
    TokenFetchPipelineBuilder,
};

#[cfg(feature = "storage-redis")]
pub use forge_storage_redis::{RedisTokenStorage, RedisTokenStorageBuilder, redis};

#[cfg(feature = "encryption")]
pub use forge_storage_encrypted::{EncryptedTokenStorage, EncryptedTokenStorageBuilder, EncryptionKey};

#[cfg(feature = "config")]
pub use forge_config::{FromEnv, ServiceConfig, ServiceConfigError, Services};

#[cfg(feature = "blocking")]
pub use forge_client::blocking;
#[cfg(feature = "client")]
pub use forge_client::{
    ApiKeyAuth, Auth, AuthHook, AuthRequest, AuthRetryStrategy, BasicAuth, BodyStream, CircuitBreaker,
    CircuitBreakerBuilder, CircuitBreakerRetryStrategy, CircuitOpen, CircuitState, CircuitTransition,
    CompositeAuth, ConditionalAuthRetryStrategy, CorrelationId, Curl, ErrorHook, ExaminedResponse,
    ExponentialAuthRetryStrategy, ExponentialBackoffRetryStrategy, FailedCall, HookResult, HttpClient,
    HttpClientBuilder, HttpClientConfig, HttpClientConfigBuilder, HttpClientError, HttpResponse,
    IgnoringFailures, IntoHookResult, Logging, NoRetryStrategy, OutgoingRequest, RateLimit, RateLimitReader,
    ReceivedResponse, RequestBuilder, RequestHook, RequestMany, ResponseHook, RetryOutcome, RetryStrategy,
    RetryableError, SimpleAuthRetryStrategy, SimpleRetryStrategy, TokenAuth,
};

#[cfg(feature = "middleware")]
pub use forge_client::{AuthMiddleware, AuthMiddlewareBuilder, reqwest_middleware};

#[cfg(feature = "tower")]
pub use forge_client::{
    AuthLayer, AuthLayerBuilder, AuthService, AuthServiceError, BodyCopy, CloneBody, grpc_verdict,
};

#[cfg(doctest)]
#[doc = include_str!("../MIGRATING.md")]
struct Migrating;
