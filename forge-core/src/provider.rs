use std::sync::Arc;

use async_trait::async_trait;

use crate::{AuthenticationError, CacheKey, TokenData};

/// Gets tokens from their issuer. Implement it for an API with a flow of its own; a manager does
/// the caching, the joining of concurrent calls and the renewal.
///
/// ```
/// use std::time::Duration;
/// use forge_core::{AuthenticationError, TokenData, TokenProvider, async_trait};
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
    /// Whatever kept the issuer from giving one; the kind decides how it is treated.
    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError>;

    /// Renews a token. Called for tokens that have a refresh token; the default gets a new one by
    /// the full grant.
    ///
    /// # Errors
    ///
    /// As [`fetch_token`](Self::fetch_token). After an error that is not transient, a manager falls
    /// back to the full grant.
    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let _ = current;
        self.fetch_token().await
    }

    /// Whether what this provider authenticates with has changed since it was last refused. Then a
    /// manager tries again at once, past the cool-down of a permanent failure. Default: no.
    async fn has_new_credentials(&self) -> bool {
        false
    }
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

    async fn has_new_credentials(&self) -> bool {
        (**self).has_new_credentials().await
    }
}
