use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{AuthenticationError, FetchContext, TokenData};

/// One step of several that lead to a token. Implement it for a step that no fetcher of this library can
/// do; a pipeline does the caching, the joining of concurrent calls and the order.
///
/// ```
/// use std::time::Duration;
/// use forge_core::{AuthenticationError, FetchContext, TokenData, TokenFetcher, async_trait};
///
/// struct SessionFetcher;
///
/// #[async_trait]
/// impl TokenFetcher for SessionFetcher {
///     fn name(&self) -> &str {
///         "session"
///     }
///
///     fn depends_on(&self) -> Vec<&str> {
///         vec!["user_token"]
///     }
///
///     async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError> {
///         let user_token = context.get_token_value("user_token"); // goes into the call
///         # drop(user_token);
///         let session = "s.k9x"; // from an API of your own
///         Ok(TokenData::new(session).with_expires_in(Duration::from_secs(600)))
///     }
/// }
/// ```
#[async_trait]
pub trait TokenFetcher: Send + Sync {
    /// Names the step: in `depends_on` of others, in the cache key, in errors.
    fn name(&self) -> &str;

    /// The steps whose tokens this one needs, in any order. One that is named twice counts once. Default: none.
    fn depends_on(&self) -> Vec<&str> {
        Vec::new()
    }

    /// How long the token lives, from when the fetch begins, whatever the issuer says. Default: what the
    /// token says of itself.
    fn ttl(&self) -> Option<Duration> {
        None
    }

    /// How long one fetch may take. Default: 30 s.
    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Whether the token is of no use any more as soon as one that it was obtained with is replaced, or
    /// expires. Default: no; it lives as long as it says itself.
    ///
    /// With yes, a cached token is only used while each of its dependencies has a valid token, and it is
    /// the one with which this token was obtained; and it expires with the first of them. That is judged
    /// whenever the pipeline is asked, and nothing is fetched for it.
    fn dies_with_dependencies(&self) -> bool {
        false
    }

    /// Gets the token. The context holds a valid token of each step in [`depends_on`](Self::depends_on),
    /// and of no other.
    ///
    /// Where the issuer refuses the tokens of the context, the error should have the
    /// [status](AuthenticationError::with_status) 401: then they are renewed, and this is called once more.
    ///
    /// # Errors
    ///
    /// Whatever kept the issuer from giving a token; the kind decides how it is treated.
    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError>;

    /// Called when this step has failed, also by a panic or its time-out; not when one that it depends on
    /// has. Default: does nothing.
    fn on_fetch_error(&self, error: &AuthenticationError, context: &FetchContext) {
        let _ = (error, context);
    }
}

#[async_trait]
impl<F: TokenFetcher + ?Sized> TokenFetcher for Arc<F> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn depends_on(&self) -> Vec<&str> {
        (**self).depends_on()
    }

    fn ttl(&self) -> Option<Duration> {
        (**self).ttl()
    }

    fn timeout(&self) -> Duration {
        (**self).timeout()
    }

    fn dies_with_dependencies(&self) -> bool {
        (**self).dies_with_dependencies()
    }

    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        (**self).fetch(context).await
    }

    fn on_fetch_error(&self, error: &AuthenticationError, context: &FetchContext) {
        (**self).on_fetch_error(error, context);
    }
}
