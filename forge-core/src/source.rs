use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{AuthenticationError, Credential, TokenData};

/// Supplies the credential for a request. This is the only thing that a client knows about tokens.
///
/// The main implementation is `TokenManager`, which caches and renews a token. [`StaticTokenSource`] and
/// [`token_source_fn`] are for tokens that come from elsewhere.
#[doc(alias = "TokenManagerInterface")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of tokens",
    label = "expected a `TokenSource`, such as a `TokenManager`",
    note = "wrap a provider with `TokenManager::new(provider)`, a fixed token with `StaticTokenSource::new(token)`, or a \
            closure with `token_source_fn(closure)`"
)]
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// The cached credential, if it is usable now. This takes no lock and never waits. A client calls this first for each
    /// request.
    fn cached(&self) -> Option<Arc<Credential>>;

    /// A valid credential: the cached one, or else a new one.
    ///
    /// # Errors
    ///
    /// There is no token. The client must not send the request.
    async fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError>;

    /// Forgets the cached token, so that the next [`get_token`](Self::get_token) fetches a new one.
    ///
    /// # Errors
    ///
    /// The shared storage did not accept the invalidation.
    async fn invalidate_token(&self) -> Result<(), AuthenticationError>;

    /// Fetches a new token, even if a cached one is valid.
    ///
    /// # Errors
    ///
    /// There is no new token.
    async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError>;

    /// Another credential, to replay a request whose credential the server has rejected. The source renews the token only
    /// if the rejected one still is the cached one. All callers with the same rejected token share one renewal.
    ///
    /// `None`: there is no other credential now. The source has only one, the issuer returned the same token again, or
    /// recent renewals did not help. Do not replay now. Wait for [`next_renewal_in`](Self::next_renewal_in), and call this
    /// once more.
    ///
    /// # Errors
    ///
    /// The renewal failed.
    async fn refresh_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError>;

    /// Tells the source that an API has rejected this credential. If the source may renew the credential now, it
    /// stops handing it out, so that no other request carries it. Fetches nothing and never waits.
    ///
    /// [`refresh_rejected`](Self::refresh_rejected) does the same. Call this method first if you wait before you
    /// call `refresh_rejected`. Default: does nothing.
    fn mark_rejected(&self, rejected: &Credential) {
        let _ = rejected;
    }

    /// How long until [`refresh_rejected`](Self::refresh_rejected) may renew the cached credential. The source
    /// backs off after renewals that did not help, and after a failed fetch. Zero: it may renew now. `None`, the
    /// default: the source does not know, and a client waits only for the delay of its own strategy.
    fn next_renewal_in(&self) -> Option<Duration> {
        None
    }
}

/// A value that a client accepts as its source of tokens: any [`TokenSource`], or a value that converts into one.
///
/// The OAuth 2.0 providers convert into a `TokenManager` that keeps the token in the process. Make the manager yourself if
/// it needs settings such as a storage, if several clients share it, or for a
/// [`TokenProvider`](crate::TokenProvider) of your own: `TokenManager::new(provider)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of tokens",
    label = "expected a `TokenManager` or another `TokenSource`",
    note = "a `TokenProvider` of your own needs a manager around it: `TokenManager::new(my_provider)`"
)]
pub trait IntoTokenSource {
    /// The source. The conversion fetches nothing.
    fn into_token_source(self) -> Arc<dyn TokenSource>;
}

impl<S: TokenSource + 'static> IntoTokenSource for S {
    fn into_token_source(self) -> Arc<dyn TokenSource> {
        Arc::new(self)
    }
}

#[async_trait]
impl<S: TokenSource + ?Sized> TokenSource for Arc<S> {
    fn cached(&self) -> Option<Arc<Credential>> {
        (**self).cached()
    }

    async fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError> {
        (**self).get_token().await
    }

    async fn invalidate_token(&self) -> Result<(), AuthenticationError> {
        (**self).invalidate_token().await
    }

    async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError> {
        (**self).force_refresh().await
    }

    async fn refresh_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        (**self).refresh_rejected(rejected).await
    }

    fn mark_rejected(&self, rejected: &Credential) {
        (**self).mark_rejected(rejected);
    }

    fn next_renewal_in(&self) -> Option<Duration> {
        (**self).next_renewal_in()
    }
}

/// A source of one fixed token, which it never renews. A client does not replay a rejected request with it.
#[derive(Clone, Debug)]
pub struct StaticTokenSource(Arc<Credential>);

impl StaticTokenSource {
    /// A source of this token.
    ///
    /// # Errors
    ///
    /// [`Credential::new`] rejects the token: it is empty or contains more than printable ASCII.
    pub fn new(token: TokenData) -> Result<Self, AuthenticationError> {
        Ok(Self(Arc::new(Credential::new(token)?)))
    }
}

#[async_trait]
impl TokenSource for StaticTokenSource {
    fn cached(&self) -> Option<Arc<Credential>> {
        Some(Arc::clone(&self.0))
    }

    async fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError> {
        Ok(Arc::clone(&self.0))
    }

    async fn invalidate_token(&self) -> Result<(), AuthenticationError> {
        Ok(())
    }

    async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError> {
        Ok(Arc::clone(&self.0))
    }

    async fn refresh_rejected(
        &self,
        _rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        Ok(None)
    }
}

/// A source that calls a closure for each request, for tokens that a sidecar or another SDK keeps.
///
/// After a rejection the source calls the closure once more, and the client replays the request if the closure returns
/// another token. If [`Credential::new`] rejects the token, the request fails and the client sends nothing.
///
/// ```
/// use requestforge::{TokenData, TokenSource, token_source_fn};
///
/// # async fn from_sidecar() -> Result<TokenData, requestforge::AuthenticationError> { Ok(TokenData::new("t")) }
/// let source = token_source_fn(|| async { from_sidecar().await });
/// # fn expect_source(_: &impl TokenSource) {}
/// # expect_source(&source);
/// ```
pub fn token_source_fn<F, Fut>(closure: F) -> impl TokenSource + Clone + fmt::Debug
where
    F: Fn() -> Fut + Clone + Send + Sync,
    Fut: Future<Output = Result<TokenData, AuthenticationError>> + Send,
{
    TokenSourceFn(closure)
}

#[derive(Clone)]
struct TokenSourceFn<F>(F);

impl<F> fmt::Debug for TokenSourceFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSourceFn")
    }
}

#[async_trait]
impl<F, Fut> TokenSource for TokenSourceFn<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<TokenData, AuthenticationError>> + Send,
{
    fn cached(&self) -> Option<Arc<Credential>> {
        None
    }

    async fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError> {
        Ok(Arc::new(Credential::new((self.0)().await?)?))
    }

    async fn invalidate_token(&self) -> Result<(), AuthenticationError> {
        Ok(())
    }

    async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError> {
        self.get_token().await
    }

    async fn refresh_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        let current = self.get_token().await?;
        Ok(Some(current).filter(|current| current.id() != rejected.id()))
    }
}
