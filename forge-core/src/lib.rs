//! The traits, token data, errors and clock of `requestforge`.
//!
//! Most programs depend on `requestforge`, which re-exports the names of this crate, and need nothing from here. Depend
//! on `forge-core` directly if you write an SDK or a library that takes tokens from its caller: this crate has no HTTP
//! client and no async runtime, so your users pay for neither.
//!
//! | you want to | implement or use |
//! | --- | --- |
//! | get tokens from an API with a flow of its own | [`TokenProvider`] |
//! | write one step of several that lead to a token | [`TokenFetcher`] |
//! | keep tokens in a storage of your own | [`TokenStorage`] |
//! | give a client tokens that come from elsewhere | [`StaticTokenSource`], [`token_source_fn`], [`TokenSource`] |
//! | send tokens with an HTTP client of your own | [`TokenSource`], [`Credential`], [`AuthVerdict`] |
//! | move time in a test | `ManualClock` (feature `test-util`) |
//! | check a storage of your own | `storage_conformance` (feature `test-util`) |
//!
//! An SDK that takes its tokens from any [`TokenSource`]:
//!
//! ```
//! use requestforge::http::{HeaderMap, Method};
//! use requestforge::{AuthenticationError, StaticTokenSource, TokenData, TokenSource};
//!
//! struct UserApi<S> {
//!     tokens: S,
//! }
//!
//! impl<S: TokenSource> UserApi<S> {
//!     /// The headers of a request for the list of users.
//!     async fn list_headers(&self) -> Result<HeaderMap, AuthenticationError> {
//!         let credential = self.tokens.get_token().await?;
//!         let mut headers = HeaderMap::new();
//!         credential.apply(&Method::GET, "https://api.example.com/users", &mut headers)?;
//!         Ok(headers)
//!     }
//! }
//!
//! // In production the source is a `TokenManager`, in this example one fixed token.
//! let api = UserApi { tokens: StaticTokenSource::new(TokenData::new("abc"))? };
//! # use std::{pin::pin, task::{Context, Poll, Waker}};
//! # let headers = match pin!(api.list_headers()).poll(&mut Context::from_waker(Waker::noop())) {
//! #     Poll::Ready(headers) => headers?,
//! #     Poll::Pending => panic!("a static source never waits"),
//! # };
//! # #[cfg(any())]
//! let headers = api.list_headers().await?;
//! assert_eq!(headers["authorization"], "Bearer abc");
//! # Ok::<_, AuthenticationError>(())
//! ```
//!
//! # Limits
//!
//! This crate fetches, caches and sends nothing. `forge-token` has the manager that caches and renews tokens, and the
//! OAuth 2.0 providers. The `forge-storage-…` crates have storages, and `forge-client` has the HTTP client.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod auth_verdict;
mod basic;
mod cache_key;
mod challenge;
mod clock;
mod credential;
mod credential_names;
mod duration;
mod error;
mod fetch_context;
mod fetcher;
mod header_name;
mod identity;
mod loopback;
mod possession;
mod provider;
mod random;
#[doc(hidden)]
pub mod renamed;
mod response;
mod retry_after;
mod secret;
mod secret_search;
mod secret_source;
mod source;
mod storage;
mod token;
mod token_text;

pub use auth_verdict::AuthVerdict;
#[doc(hidden)] // for our other crates
pub use basic::{basic_credentials, has_control_character};
pub use cache_key::CacheKey;
#[doc(hidden)] // for our other crates
pub use cache_key::{check_key_word, check_service_name};
#[doc(hidden)] // for our other crates
pub use challenge::{Challenge, challenges};
#[cfg(feature = "test-util")]
pub use clock::ManualClock;
pub use clock::{Clock, ClockReading, SystemClock};
pub use credential::Credential;
pub use credential_names::looks_like_credential_name;
#[doc(hidden)] // for our other crates
pub use duration::{MAX_DURATION, check_positive, clamp_duration};
#[doc(hidden)] // for the errors of our other crates
pub use error::write_chain;
pub use error::{
    AuthenticationError, AuthenticationErrorKind, ConfigError, NetworkError, OAuthErrorCode, StorageError,
};
pub use fetch_context::FetchContext;
pub use fetcher::TokenFetcher;
#[doc(hidden)] // for our other crates
pub use header_name::{check_cookie_name, check_header_name, is_framing};
pub use identity::TokenId;
#[doc(hidden)] // for our other crates
pub use loopback::is_loopback_host;
pub use possession::{
    ClientIdentity, LoadedClientIdentity, NonceStore, ProofOfPossession, ProofRequest, TokenBinding,
};
pub use provider::{CachingProvider, TokenProvider, TokenRequirement};
#[doc(hidden)] // for our other crates
pub use random::{random_bits, random_fraction};
#[doc(hidden)]
pub use renamed::*;
pub use response::{InvalidTokenResponse, ResponseFields, TimeFormat};
pub use retry_after::retry_after;
pub use secret::Secret;
pub use secret_search::contains_secret;
#[doc(hidden)] // for our other crates
pub use secret_search::{SecretFinder, is_printable, mask_secrets};
pub use secret_source::SecretSource;
pub use source::{IntoTokenSource, StaticTokenSource, TokenSource, token_source_fn};
#[cfg(feature = "test-util")]
pub use storage::conformance as storage_conformance;
pub use storage::{
    CompareAndDelete, CoolDown, CoolDownPolicy, Generation, GenerationId, GenerationStamp, Generations,
    LeaseOutcome, LeaseRead, MarkTakeover, RefreshMark, StalenessLimits, TokenLease, TokenLeases,
    TokenStorage,
};
pub use token::{InvalidTokenRecord, TokenData};
#[doc(hidden)] // for our other crates
pub use token_text::{is_token_text, with_prefix};

/// `#[async_trait]`, re-exported for implementations of this crate's traits.
pub use async_trait::async_trait;

/// The crates whose types are part of this API, in the versions that it uses.
pub use {chrono, http};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
