use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{AuthenticationError, Credential, TokenData};

/// Where a client gets the credential for a request: all that a client knows of tokens.
///
/// `TokenManager` (crate `forge-token`) implements it; [`StaticTokenSource`] and
/// [`token_source_fn`] serve those who have a token from elsewhere.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// The credential that is at hand, if it may be used now: no lock, no waiting. This is what a
    /// client asks first, for every request.
    fn cached(&self) -> Option<Arc<Credential>>;

    /// A valid credential: the one at hand, else a new one.
    ///
    /// # Errors
    ///
    /// No token could be had. The request must not be sent then.
    async fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError>;

    /// Forgets the cached token, so that the next [`get_token`](Self::get_token) fetches one.
    ///
    /// # Errors
    ///
    /// The shared storage could not be told.
    async fn invalidate_token(&self) -> Result<(), AuthenticationError>;

    /// Fetches a new token, whatever is cached.
    ///
    /// # Errors
    ///
    /// No token could be had.
    async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError>;

    /// A credential to replay a request with whose own was rejected: renews only if the cached
    /// token still is the rejected one, joined with all others who were rejected with it.
    ///
    /// `None`: there is no other credential now (the source has but one, the issuer handed out the
    /// same again, or recent renewals did not help). Do not replay now. Wait for
    /// [`next_renewal_in`](Self::next_renewal_in), and call this once more.
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

/// What a client takes where it wants tokens: any [`TokenSource`], and what one can be made of.
///
/// The providers of this project implement it, by a `TokenManager` that keeps the token in the process.
/// Where the manager needs settings, a storage say, or others use it too, make it yourself. So it is with
/// a [`TokenProvider`](crate::TokenProvider) of one's own: `TokenManager::new(provider)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of tokens",
    label = "expected a `TokenManager` or another `TokenSource`",
    note = "a `TokenProvider` of your own needs a manager around it: `TokenManager::new(my_provider)`"
)]
pub trait IntoTokenSource {
    /// The source. Nothing is fetched before somebody asks it.
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

/// One token, for ever. It is never renewed: a rejected request is not replayed.
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

/// A source that asks a closure for the token at every request, for those who keep tokens
/// elsewhere: a sidecar, another SDK. After a rejection the closure is asked once more, and the
/// request is replayed if it has another token by then. If [`Credential::new`] rejects the token, the request
/// fails and nothing is sent.
///
/// ```
/// use forge_core::{TokenData, TokenSource, token_source_fn};
///
/// # async fn from_sidecar() -> Result<TokenData, forge_core::AuthenticationError> { Ok(TokenData::new("t")) }
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
