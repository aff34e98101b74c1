use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{AuthenticationError, CacheKey, TokenBinding, TokenData, TokenId};

/// Gets tokens from their issuer. Implement it for an API with a flow of its own. A manager caches the tokens, joins
/// concurrent calls and renews.
///
/// ```
/// use std::time::Duration;
/// use requestforge::{AuthenticationError, TokenData, TokenProvider, async_trait};
///
/// struct VaultProvider;
///
/// #[async_trait]
/// impl TokenProvider for VaultProvider {
///     fn service_name(&self) -> &str {
///         "vault"
///     }
///
///     async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
///         let token = "s.k9x"; // from an API of your own
///         Ok(TokenData::new(token).with_expires_in(Duration::from_secs(600)))
///     }
/// }
/// ```
#[doc(alias = "TokenProviderInterface")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a provider of tokens",
    label = "expected a `TokenProvider`",
    note = "implement `TokenProvider` for it; for a token that already exists use a `StaticTokenSource`"
)]
#[async_trait]
pub trait TokenProvider: Send + Sync {
    /// Names the service in errors and in the cache key.
    fn service_name(&self) -> &str;

    /// The key under which a storage keeps this provider's token. Default: the service name alone;
    /// override it with [`CacheKey`] where that does not tell two providers' tokens apart.
    fn cache_key(&self) -> String {
        CacheKey::new(self.service_name()).to_string()
    }

    /// Gets a token by the full grant.
    ///
    /// # Errors
    ///
    /// The reason why there is no token. Its kind decides how a manager treats the failure.
    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError>;

    /// Renews a token. A manager calls it for tokens that have a refresh token. The default gets a new token by the full
    /// grant.
    ///
    /// # Errors
    ///
    /// As [`fetch_token`](Self::fetch_token). Set the error's status and code: from them a manager concludes
    /// whether the refresh token is dead, refused, unused or possibly used, and whether to fall back to
    /// `fetch_token`.
    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let _ = current;
        self.fetch_token().await
    }

    /// Whether the provider has a *full grant*: [`fetch_token`](Self::fetch_token) can get a token without a
    /// refresh token, by client credentials for example. Default: `true`. Return `false` if only the refresh
    /// token of a person's login leads to a new token. A manager then does not fall back to `fetch_token`
    /// after a failed refresh, keeps the refresh token as long as it may still work, and reports
    /// [`needs_login`](AuthenticationError::needs_login) when it no longer does. The answer must not change during a
    /// renewal: a manager asks more than once.
    ///
    /// The first refresh token comes from a login. Let [`fetch_token`](Self::fetch_token) refresh with what you
    /// have persisted, or put the token into the storage under [`cache_key`](Self::cache_key). After a new login
    /// do the same; [`refresh_token`](Self::refresh_token) renews from then on.
    fn has_full_grant(&self) -> bool {
        true
    }

    /// Whether the provider's secrets, such as its client secret, have changed since the issuer last refused them. If
    /// so, a manager tries again at once, in spite of the cool-down of a permanent failure. Default: no.
    #[allow(deprecated)] // Providers that implement the old name keep working.
    async fn has_new_secrets(&self) -> bool {
        self.has_new_credentials().await
    }

    #[doc(hidden)]
    #[deprecated(note = "renamed to `has_new_secrets`")]
    async fn has_new_credentials(&self) -> bool {
        false
    }

    /// This provider as one that keeps tokens itself. Default: `None`, it keeps none.
    fn caching(&self) -> Option<&dyn CachingProvider> {
        None
    }

    /// This provider as one whose tokens work only together with a key or a certificate. Default: `None`, its tokens
    /// are bearer tokens.
    fn binding(&self) -> Option<&dyn TokenBinding> {
        None
    }
}

/// A provider that keeps tokens itself, or asks other managers for them, as the steps of a pipeline do. A manager finds
/// it through [`TokenProvider::caching`], which has to return `Some(self)`. An ordinary provider does not need it.
///
/// ```
/// use std::time::Duration;
/// use requestforge::token::{CachingProvider, TokenRequirement};
/// use requestforge::{AuthenticationError, TokenData, TokenProvider, TokenSource, async_trait};
///
/// /// Exchanges the token of another source for its own.
/// struct Exchange<S>(S);
///
/// #[async_trait]
/// impl<S: TokenSource> TokenProvider for Exchange<S> {
///     fn service_name(&self) -> &str {
///         "exchange"
///     }
///
///     async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
///         let outer = self.0.get_token().await?;
///         Ok(TokenData::new(format!("exchanged-{}", outer.access_token()))) // by an API of your own
///     }
///
///     fn caching(&self) -> Option<&dyn CachingProvider> {
///         Some(self)
///     }
/// }
///
/// #[async_trait]
/// impl<S: TokenSource> CachingProvider for Exchange<S> {
///     async fn fetch_token_for(&self, requirement: TokenRequirement) -> Result<TokenData, AuthenticationError> {
///         if requirement == TokenRequirement::New {
///             self.0.force_refresh().await?;
///         }
///         self.fetch_token().await
///     }
///
///     async fn forget_token(&self) -> Result<(), AuthenticationError> {
///         self.0.invalidate_token().await
///     }
///
///     fn max_fetch_duration(&self) -> Option<Duration> {
///         Some(Duration::from_secs(60)) // the other source's, and its own
///     }
/// }
/// ```
#[async_trait]
pub trait CachingProvider: TokenProvider {
    /// Gets a token that meets the requirement. A manager calls this instead of
    /// [`fetch_token`](TokenProvider::fetch_token), so that the provider does not answer with a cached token that
    /// the manager cannot use. Default: `fetch_token`.
    ///
    /// # Errors
    ///
    /// As [`fetch_token`](TokenProvider::fetch_token).
    async fn fetch_token_for(&self, requirement: TokenRequirement) -> Result<TokenData, AuthenticationError> {
        let _ = requirement;
        self.fetch_token().await
    }

    /// Forgets the tokens that the provider keeps. A manager calls it when its token is invalidated. Default: the
    /// provider keeps none.
    ///
    /// # Errors
    ///
    /// The provider could not forget its tokens everywhere.
    async fn forget_token(&self) -> Result<(), AuthenticationError> {
        Ok(())
    }

    /// How long a fetch may take, for a provider that waits for other managers and bounds each call itself. It is the
    /// manager's fetch time-out unless that is set. Default: `None`, the manager uses its own default.
    fn max_fetch_duration(&self) -> Option<Duration> {
        None
    }
}

/// The requirement that a token must meet. It decides whether a cached token may be used or a new one must be
/// fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenRequirement {
    /// Any valid token.
    Valid,
    /// A valid token that is not this one, which expires soon or has expired.
    NewerThan(TokenId),
    /// A valid token that is not this one, which was rejected.
    OtherThan(TokenId),
    /// A token fetched anew, whatever is cached.
    New,
}

#[async_trait]
impl<P: TokenProvider + ?Sized> TokenProvider for Arc<P> {
    fn service_name(&self) -> &str {
        (**self).service_name()
    }

    fn cache_key(&self) -> String {
        (**self).cache_key()
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        (**self).fetch_token().await
    }

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        (**self).refresh_token(current).await
    }

    fn has_full_grant(&self) -> bool {
        (**self).has_full_grant()
    }

    async fn has_new_secrets(&self) -> bool {
        (**self).has_new_secrets().await
    }

    fn caching(&self) -> Option<&dyn CachingProvider> {
        (**self).caching()
    }

    fn binding(&self) -> Option<&dyn TokenBinding> {
        (**self).binding()
    }
}
