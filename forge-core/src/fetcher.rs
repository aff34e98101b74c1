use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{AuthenticationError, FetchContext, TokenData};

/// One step of several that lead to a token. Implement this trait for a step that no fetcher of this library can do. A
/// pipeline caches the step's token, joins concurrent calls, and runs the steps in order.
///
/// ```
/// use std::time::Duration;
/// use requestforge::{AuthenticationError, FetchContext, TokenData, TokenFetcher, async_trait};
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
#[doc(alias = "TokenFetcherInterface")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step of a pipeline",
    label = "expected a `TokenFetcher`",
    note = "use a `BodyTokenFetcher` or a `HeaderTokenFetcher`, or implement `TokenFetcher` with its methods `name` and \
            `fetch`"
)]
#[async_trait]
pub trait TokenFetcher: Send + Sync {
    /// The name of the step in `depends_on` of other steps, in the cache key, and in errors.
    fn name(&self) -> &str;

    /// The steps whose tokens this step needs, in any order. A step that is named twice counts once. Default: none.
    fn depends_on(&self) -> Vec<&str> {
        Vec::new()
    }

    /// How long the token lives, counted from the beginning of the fetch, whatever the issuer states. Default: until the
    /// expiry in the token data.
    fn ttl(&self) -> Option<Duration> {
        None
    }

    /// How long one fetch may take. Default: 30 s.
    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Whether the token becomes useless as soon as a token with which it was obtained is replaced or expires. Default:
    /// `false`; the token lives until its own expiry.
    ///
    /// With `true`, the pipeline uses a cached token only while each dependency still has a valid token, the same one
    /// with which this token was obtained. The token expires with the first of them. The pipeline checks this at each
    /// call, and fetches nothing for the check.
    fn dies_with_dependencies(&self) -> bool {
        false
    }

    /// Fetches the token. The context has a valid token of each step in [`depends_on`](Self::depends_on), and of no
    /// other step.
    ///
    /// If the issuer refuses the tokens of the context, return an error with the
    /// [status](AuthenticationError::with_status) 401. The pipeline then renews these tokens, and calls this method once
    /// more.
    ///
    /// # Errors
    ///
    /// There is no token. The kind of the error decides whether and when the manager tries again.
    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError>;

    /// The pipeline calls this after this step has failed, also after a panic or a time-out. It does not call this after
    /// the failure of a dependency. Default: does nothing.
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
